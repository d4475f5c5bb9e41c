"""The same question in two languages: the answer is wanted in another language, so it does not serve."""

from functools import cache
from random import Random

from modelcache.training.contrasts.surface import roughened
from modelcache.training.contrasts.tables import LANGUAGES, lines_of, tables
from modelcache.training.examples import Example

Sides = tuple[tuple[str, ...], ...]


@cache
def _sides(name: str) -> tuple[Sides, ...]:
    return tuple(
        tuple(tuple(spelling.strip() for spelling in side.split("|")) for side in line.split(" = "))
        for line in lines_of(tables()["both"]["language"][name])
    )


def bilingual(same: bool, language: str, rng: Random) -> Example:
    """Return a question and its translation, or two spellings in one language."""
    name = rng.choice([name for name in tables()["both"]["language"] if name.startswith("ask_")])
    frames = dict(zip(LANGUAGES, rng.choice(_sides(name)), strict=True))
    filler = dict(zip(LANGUAGES, rng.choice(_sides(name.removeprefix("ask_"))), strict=True))
    cached_language = language if same else next(other for other in LANGUAGES if other != language)
    asked, cached = (
        rng.choice(frames[side]).replace("{x}", filler[side][0]) for side in (language, cached_language)
    )
    if asked == cached:
        asked = roughened(asked, rng, language)
    return Example(asked, cached, same, "language", language)
