"""The spellings of the tables that a text holds, and what each of its numbers is a number of."""

from modelcache.language.number_reading import HEADS, NumberReader
from modelcache.language.tokens import Token
from modelcache.language.trie import Mark, longest
from modelcache.slots.record import Measure
from modelcache.slots.tables import Tables

# How many words may part "turn" and "off".
GAP = 4
# What a number is a number of.
MEASURED = frozenset({"unit", "currency"})
SIGNS = frozenset("$€£¥₹")
ASKING_AMOUNT = frozenset({"many", "少", "几"})
# The amount that is asked for.
ASKED = "?"

Spelling = tuple[int, int, tuple[Mark, ...]]


def spellings_of(
    tokens: list[Token], tables: Tables, numbers: NumberReader, measures: dict[Measure, set[str]]
) -> list[Spelling]:
    """Return place, length and marks of each spelling the tables know.

    The numbers between, and what each is a number of, are kept in the other two.
    """
    known = tables.spellings
    found = []
    ends: list[Spelling] = []
    place = 0
    while place < len(tokens):
        word, kind, _ = tokens[place]
        marks, length = longest(known, tokens, place) if word in known.following else ((), 0)
        if not length and (kind == "number" or word in HEADS):
            length = numbers.read(place)
            if length:
                marks, used = longest(tables.after_number, tokens, place + length)
                others, other_used = longest(known, tokens, place + length)
                signed = (
                    longest(known, tokens, place - 1)[0] if place and tokens[place - 1].text in SIGNS else ()
                )
                _keep_measures(measures, numbers.last, marks + others + signed)
                if used == other_used:
                    # Pounds may be money or a weight.
                    marks += others
                elif used < other_used:
                    # In 3 天猫 the spelling that goes on is not the unit.
                    marks, used = (), 0
                length += used
        elif length and place and tokens[place - 1].text in ASKING_AMOUNT:
            _keep_measures(measures, ASKED, marks)
        if word in tables.parted and length < 2:
            lasts = tables.parted[word]
            for end in range(place + 2, min(place + 2 + GAP, len(tokens))):
                parted = lasts.get(tokens[end].text)
                if parted is None:
                    continue
                if any(mark.rule == "direction" for mark in parted):
                    # "Replace … with": what stands before the second word becomes what is behind it.
                    ends.append((end, 1, parted))
                else:
                    marks, length = parted, 1
                break
        if marks:
            found.append((place, length, marks))
        place += length or 1
    return sorted(found + ends) if ends else found


def is_unit(word: str, tables: Tables) -> bool:
    """Tell whether a number may be a number of this."""
    nodes = (tables.after_number.following.get(word), tables.spellings.following.get(word))
    return any(mark.rule in MEASURED for node in nodes if node for mark in node.marks or ())


def _keep_measures(measures: dict[Measure, set[str]], number: str, marks: tuple[Mark, ...]) -> None:
    for mark in marks:
        if mark.rule in MEASURED:
            measures[mark.rule, number].add(mark.value)
