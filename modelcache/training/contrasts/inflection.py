"""The few forms of words that frames ask for."""

import re

DOUBLING = """
put get set cut run stop plan ban swap drop zip tag pin log submit refer transfer permit commit
begin forget quit sit win chop wrap trim skip map unplug unpin unzip reset split shut plug spin
debug rip scan
"""


def gerund(verb: str) -> str:
    """Return the -ing form of a verb in its base form."""
    if verb == "be":
        return "being"
    if verb in DOUBLING.split():
        return verb + verb[-1] + "ing"
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        return verb[:-1] + "ing"
    return verb + "ing"


def inflected(text: str, form: str | None) -> str:
    """Return the text in the form that a frame asks for: ing, cap, or end (with a full stop)."""
    match form:
        case "ing":
            first, *rest = re.split(r"([ -])", text, maxsplit=1)
            return gerund(first) + "".join(rest)
        case "cap":
            return text[:1].upper() + text[1:]
        case "end":
            stop = "。" if re.search(r"[\u4e00-\u9fff]", text) else "."
            return text if text.endswith((".", "?", "!", "。", "？", "！")) else text + stop
        case _:
            return text
