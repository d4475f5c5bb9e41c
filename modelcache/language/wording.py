"""A text without what leaves a question what it is: politeness, capitals, punctuation."""

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path

TABLE = Path(__file__).parent / "wording.toml"
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
# What is kept of other signs says something: C++, 50 %, $5.
SIGNS = re.compile(r"[^\w\s+#%$€£¥₹]|_")
SPACES = re.compile(r"\s+")


class Wording:
    """Folds texts by the table; safe in many threads."""

    def __init__(self, path: Path = TABLE) -> None:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        self.particles = frozenset(tables["particles"])
        self._closing = tables["closing"]
        # The longest spelling at a place counts.
        ordered = sorted(tables["dropped"], key=len, reverse=True)
        chinese = "|".join(re.escape(one) for one in ordered if HAN.search(one))
        spaced = "|".join(re.escape(one) for one in ordered if not HAN.search(one))
        self._pattern = re.compile(rf"{chinese}|\b(?:{spaced})\b")

    def fold(self, text: str) -> str:
        """Return the text in lower case, without punctuation and what is said in passing."""
        plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
        plain = (
            plain.replace("what's", "what is").replace("'s ", " ").replace("n't", " not").replace("'", " ")
        )
        plain = SPACES.sub(" ", SIGNS.sub(" ", plain)).strip()
        return SPACES.sub(" ", self._pattern.sub("", plain)).strip().rstrip(self._closing)


@lru_cache(1)
def shipped_wording() -> Wording:
    return Wording()
