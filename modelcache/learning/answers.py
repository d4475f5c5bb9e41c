"""Whether two answers say the same."""

import unicodedata

from modelcache.embedding.gathering import GatheringEmbedder

# A longer answer is compared by equality only.
MAX_ANSWER_CHARS = 2048

FINAL_PUNCTUATION = ".!?;:,…。！？；：，、"


class AnswerComparison:
    """Tells whether two answers say the same; between the two cosines it does not tell."""

    def __init__(self, gathering: GatheringEmbedder, same: float, different: float) -> None:
        self._gathering = gathering
        self._same = same
        self._different = different

    def are_same(self, one: str, other: str) -> bool | None:
        """Compare by equality, then by meaning; None: it is unclear. Raises EmbeddingError."""
        folded = fold_answer(one), fold_answer(other)
        if folded[0] == folded[1]:
            return True
        if max(map(len, folded)) > MAX_ANSWER_CHARS or not all(folded):
            return None
        first, second = self._gathering.embed(list(folded))
        cosine = float(first @ second)
        return True if cosine >= self._same else False if cosine < self._different else None


def fold_answer(text: str) -> str:
    """Fold what never changes what an answer says: composition, spaces, case, final punctuation."""
    folded = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return folded.rstrip(FINAL_PUNCTUATION + " ")
