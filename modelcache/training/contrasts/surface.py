"""Changes that leave a question what it is: courtesy, case, signs at its end, slips of the pen."""

import re
from random import Random

from modelcache.training.contrasts.tables import lines_of, tables

LONG_WORD = re.compile(r"(?<![\w'.@/\\-])[a-z]{6,}(?![\w'.@/\\-])")
# A slip in these could make another word of them, or takes away what the question turns on.
KEPT = """
without before import export include exclude install minimum maximum increase decrease unlock enable
disable affect effect desert dessert cancel canned except accept personal personnel principal
principle
"""


def slip(text: str, rng: Random) -> str:
    """Return the text with two letters exchanged, one left out or one doubled inside a long word."""
    kept = KEPT.split()
    words = [match for match in LONG_WORD.finditer(text) if match[0] not in kept]
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randint(2, len(word[0]) - 3)
    match rng.randrange(3):
        case 0:
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        case 1:
            return text[:at] + text[at + 1 :]
        case _:
            return text[:at] + text[at] + text[at:]


def recased(text: str, rng: Random) -> str:
    """Return the text in small letters, rarely in capitals."""
    return text.upper() if rng.random() < 0.08 and len(text) < 60 else text.lower()


def unpunctuated(text: str, rng: Random) -> str:
    """Return the text without its last sign, or with one."""
    bare = text.rstrip("?？.。!！ ")
    if bare != text and bare:
        return bare
    return text + rng.choice("？。" if re.search(r"[\u4e00-\u9fff]", text) else "?.!")


def contracted(text: str, rng: Random) -> str:
    """Return the text with what is long contracted, or what is contracted written out."""
    pairs = [line.split(" = ") for line in lines_of(tables()["en"]["surface"]["contractions"])]
    ways = pairs + [pair[::-1] for pair in pairs]
    for old, new in rng.sample(ways, len(ways)):
        changed = re.sub(rf"\b{re.escape(old)}\b", new, text, count=1)
        if changed != text:
            return changed
    return text


def lowered_first(text: str) -> str:
    """Return the text with a small first letter where its first word is an ordinary one."""
    head = text.split(" ", 1)[0]
    common = tables()["en"]["surface"]["openers"].split()
    return text[:1].lower() + text[1:] if head.lower() in common and head != "I" else text


def wrapped(text: str, rng: Random, language: str) -> str:
    """Return the text with a greeting, a thank-you or idle context around it."""
    surface = tables()[language]["surface"]
    gap = " " if language == "en" else ""
    if rng.random() < 0.6:
        before = rng.choice(lines_of(surface["before"]))
        body = lowered_first(text) if language == "en" and before.endswith((",", ":")) else text
        text = before + gap + body
    else:
        text = unended(text, language) + gap + rng.choice(lines_of(surface["after"]))
    return text


def unended(text: str, language: str) -> str:
    """Return the text with a sign at its end."""
    if text.endswith(("?", ".", "!", "？", "。", "！")):
        return text
    return text + ("." if language == "en" else "，")


def homophone(text: str, rng: Random) -> str:
    """Return Chinese text with one word written as another of the same sound."""
    pairs = [line.split(" = ") for line in lines_of(tables()["zh"]["surface"]["homophones"])]
    found = [(right, wrong) for right, wrong in pairs if right in text]
    return text.replace(*rng.choice(found), 1) if found else text


def roughened(text: str, rng: Random, language: str, exact: bool = False) -> str:
    """Return the text changed in one or two ways that do not matter; where exact, only wrapped."""
    if exact or rng.random() < 0.25:
        return wrapped(text, rng, language)
    for _ in range(rng.choice((1, 1, 2))):
        way = rng.random()
        if way < 0.3:
            text = unpunctuated(text, rng)
        elif language == "zh":
            text = (
                homophone(text, rng) if way < 0.5 else (wrapped(text, rng, language) if way < 0.75 else text)
            )
        elif way < 0.55:
            text = slip(text, rng)
        elif way < 0.8:
            text = recased(text, rng)
        else:
            text = contracted(text, rng)
    return text
