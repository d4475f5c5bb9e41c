"""What is asked about: a word itself, as in "how do you spell X", and whom a question is about, me or you."""

import re
from collections.abc import Sequence

from modelcache.language.tokens import HAN, Token

# The frames of a question about a word.
ABOUT_A_WORD = re.compile(
    r"\b(?:pronounce[ds]?|pronunciation|spell(?:ed|ing)?|synonyms?|antonyms?|homophones?|rhymes? with"
    r"|plural|(?:past|present) (?:tense|participle)|etymology|definition|(?:word|term|slang) for|you say"
    r"|stands? for)\b"
    r"|\bwhat does (?!it\b|this\b|that\b).{1,40} mean\b"
    r"|(?:怎么|怎样|如何|咋)(?:读|念|写|拼|说|发音|翻译)|近义词|反义词|同义词|拼音|读音|笔画|笔顺|组词"
    r"|造句|方言|(?:什么|啥)意思|的(?:英文|[英法德日韩俄西]语|日文)|(?:念|读)什么|是什么字(?!体)"
)
FRAME = frozenset(
    {"what", "how", "is", "are", "the", "a", "an", "of", "do", "does", "you", "i", "we", "in", "to", "can"}
    | {"it", "please", "tell", "me", "word", "words", "say", "mean", "means", "meaning", "pronounce", "for"}
    | {"pronounced", "spell", "spelled", "by", "exactly", "actually", "correct", "proper", "way", "term"}
    | {"phrase", "and", "that"}
)
FRAME_HAN = frozenset(
    "的这个那句话字词语是什么啥意思请问指呢吗啊吧怎样如何咋读念写拼说发音翻译成为用英文中汉一下代表和有了里"
)
# What a question about one word holds beside its frame; who tells more asks about a thing.
FEW_WORDS = 3
FEW_HAN = 4

PERSONS = {
    **dict.fromkeys(("i", "my", "mine", "me", "myself", "我", "咱", "俺"), "I"),
    **dict.fromkeys(("you", "your", "yours", "yourself", "u", "你", "您"), "you"),
}
ALIKE_FORMS = {"am": "are", "is": "are", "was": "were", "does": "do"}

# In 喜出望外的望是什么意思 the meaning of a part is asked for.
MEANING = "意思"
PART = re.compile(
    rf"(?:中的|里的|的|中|里)[‘“\"']?(?P<part>[{HAN}]{{1,2}}?)[’”\"']?字?(?:的意思|(?:是|指|昰)?(?:什么|啥)意思)"
)

Voice = tuple[tuple[str, ...], tuple[str, ...]]


def parts_of(text: str) -> frozenset[str]:
    """Return what is asked for by itself though the saying before holds it too."""
    if MEANING not in text:
        return frozenset()
    return frozenset(match["part"] for match in PART.finditer(text) if match["part"] in text[: match.start()])


def word_asked_about(text: str, tokens: Sequence[Token]) -> frozenset[str]:
    """Return what a question about a word holds beside the question; empty for other questions."""
    if not ABOUT_A_WORD.search(text.lower()):
        return frozenset()
    said = frozenset(
        [token.text for token in tokens if token.text not in (FRAME_HAN if token.kind == "han" else FRAME)]
    )
    if any(token.kind == "number" for token in tokens):
        return frozenset()
    few = FEW_HAN if any(token.kind == "han" for token in tokens) else FEW_WORDS
    return said if len(said) <= few else frozenset()


def voice_of(tokens: Sequence[Token]) -> Voice:
    """Return the words with the persons left out, and who they are."""
    return (
        tuple(["" if token.text in PERSONS else ALIKE_FORMS.get(token.text, token.text) for token in tokens]),
        tuple([token.text for token in tokens if token.text in PERSONS]),
    )
