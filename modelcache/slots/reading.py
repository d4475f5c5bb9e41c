"""From a text to its slots: what it says of numbers, names, negation and whatever the tables list."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from modelcache.slots.asking import Voice, parts_of, voice_of, word_asked_about
from modelcache.slots.clock import Clock
from modelcache.slots.directions import Link, Turn, links_of
from modelcache.slots.durations import Duration, durations_of
from modelcache.slots.identifiers import Identifiers, identifiers_of
from modelcache.slots.languages import Language, language_of
from modelcache.slots.names import names_of, persons_before_address, titles_of
from modelcache.slots.number_reading import HEADS, NumberReader
from modelcache.slots.payload import payload_of
from modelcache.slots.places import Places, Role, places_of, role_of
from modelcache.slots.signs import Signs, signs_of
from modelcache.slots.tables import SIDES, STATE, Mark, Node, Tables
from modelcache.slots.tokens import FORM_WORDS, HAN, SMALL_HAN, Token, tokens_of

# A longer text is read up to here, so that its cost is bounded.
LONGEST = 4096
# To stop or to cancel what one side says, as in 停止订阅, is the other side.
UNDOING = frozenset({"open-close", "start-stop"})
UNDONE = frozenset({"attach", "lock", "show-hide", "renewal"})
# How many words may part "turn" and "off".
GAP = 4
STATE_ENDINGS = ("了", "过的", "好的", "后的")
EITHER = frozenset("不没未")
# The 不 of 好不？ and the 没有 of 买了没有？ ask.
ASKING = re.compile(rf"(?:(?<=[{HAN}])[不没]|(?<=[了过])没有?)(?=\s*(?:[,，。.!！?？；;]|$))")
# Words that begin alike are taken for forms of one: create and creating.
STEM = 5
STEMS_REMEMBERED = 8192
ENDING = re.compile("(?<=...)(?:ings?|ed|es|e|s)$")

# A capital by itself tells a kind, a size or a plan; of "I" and a leading "A" it is a word.
SIZES = frozenset({"XS", "XL", "XXL", "XXXL"})
# What a number is a number of.
MEASURED = frozenset({"unit", "currency"})
SIGNS = frozenset("$€£¥₹")
ASKING_AMOUNT = frozenset({"many", "少", "几"})
ASKED = "?"
# So many words in Latin letters begin a text that is not in Chinese, whatever it quotes.
LEADING_WORDS = 3

Axis = tuple[str, str]
Measure = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Slots:
    """What a text says, for each rule."""

    values: dict[Axis, frozenset[str]]
    """Values by rule and axis: ("language", "language") has {"french"}."""
    numbers: dict[str, str]
    """Rule by number: a version or a date differs by its own name."""
    vague: frozenset[str]
    """Numbers that agree with an absence."""
    counts: Mapping[str, int]
    """How often each number is said, vague or not."""
    clocks: frozenset[Clock]
    """Times of day."""
    durations: tuple[Duration, ...]
    measures: dict[Measure, frozenset[str]]
    """Units by rule and number: ("currency", "100") has {"usd"}; ``ASKED`` is the amount asked for."""
    names: frozenset[str]
    """Words that look like names."""
    titles: frozenset[str]
    persons: frozenset[str]
    """Chinese names before a form of address, as in 王老师."""
    initials: str
    """The first letter of each word that is more than a question's form."""
    links: tuple[Link, ...]
    """What is before and behind each direction word."""
    places: Places
    words: frozenset[str]
    content: frozenset[str]
    """Stems of the words that are more than a question's form, but for listed names and negations."""
    denied: frozenset[str]
    """Stems of what stands behind a negation."""
    han: str
    """The Chinese characters, in order."""
    signs: Signs
    identifiers: Identifiers
    mentioned: frozenset[str]
    """What is said of a word that is asked about."""
    voice: Voice
    language: Language
    parts: frozenset[str]
    """Parts of a saying whose meaning is asked for by itself."""
    payload: frozenset[str]
    """The words of what the text hands on to be worked on."""


class Reader:
    """Reads texts by one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._persons = persons_before_address(tables.surnames)

    def read(self, text: str) -> Slots:
        """Find the slots of a text."""
        signs, payload = signs_of(text[:LONGEST]), payload_of(text)
        text = ASKING.sub("", text[:LONGEST])
        tokens = tokens_of(text)
        numbers = NumberReader(tokens)
        values: dict[Axis, set[str]] = defaultdict(set)
        turns: list[Turn] = []
        marked: set[int] = set()
        negated: set[int] = set()
        named: set[int] = set()
        undone: set[int] = set()
        measures: dict[Measure, set[str]] = defaultdict(set)
        roles: dict[int, Role] = {}
        mutual = False
        for start, length, marks in self._spellings(tokens, numbers, measures):
            if tokens[start].text in EITHER and _asks_either(tokens, start, length):
                continue
            for rule, axis, value in marks:
                if rule == "direction":
                    turns.append((start, length, value))
                elif rule == "mutual":
                    mutual = True
                elif rule != "opposite" or start - 1 not in negated:
                    # What is denied, as in "not open", is on neither side.
                    marked.update(range(start, start + length))
                    if role := role_of(axis, value):
                        roles[start] = role
                    if rule == "opposite" and tokens[start].text in EITHER:
                        values["negation", "negation"].add("words")
                        negated.add(start)
                    if rule == "opposite" and axis in UNDOING and value == SIDES[1]:
                        undone.add(start + length)
                    if rule == "opposite" and _is_state(tokens, start, length):
                        axis += STATE
                    elif rule == "opposite" and start in undone and axis in UNDONE:
                        value = SIDES[value == SIDES[0]]
                    values[rule, axis].add(value)
                    if rule == "negation" and value == "words":
                        negated.update(range(start, start + length))
                    elif rule == "name":
                        named.update(range(start, start + length))
        han = "".join([token.text for token in tokens if token.kind == "han"])
        if letters := _letters(tokens, bool(han)):
            values["letter", "letter"] = letters
        # A Chinese sentence to be translated is no Chinese question.
        names = names_of(tokens, marked, bool(han) and not _begins_in_latin(tokens)) - self.tables.common
        return Slots(
            values={axis: frozenset(found) for axis, found in values.items() if found},
            numbers=numbers.plain,
            vague=frozenset(numbers.vague),
            counts=numbers.counts,
            clocks=frozenset(numbers.clocks),
            durations=durations_of(tokens),
            measures={amount: frozenset(found) for amount, found in measures.items()},
            names=names,
            titles=titles_of(text),
            persons=frozenset(self._persons.findall(text)),
            initials="".join([token.text[0] for token in tokens if token.kind == "word" and _says(token)]),
            links=links_of(tokens, turns),
            places=places_of(text, tokens, turns, roles, names, mutual=mutual),
            words=frozenset([token.text for token in tokens]),
            content=_content(tokens, negated | named),
            denied=frozenset(_denied(tokens, negated)),
            han=han,
            signs=signs,
            identifiers=identifiers_of(text, self._is_unit),
            mentioned=word_asked_about(text, tokens),
            voice=voice_of(tokens),
            language=language_of(text, self.tables.small_words),
            parts=parts_of(text),
            payload=payload,
        )

    def _is_unit(self, word: str) -> bool:
        nodes = (self.tables.after_number.following.get(word), self.tables.spellings.following.get(word))
        return any(mark.rule in MEASURED for node in nodes if node for mark in node.marks or ())

    def _spellings(
        self, tokens: list[Token], numbers: NumberReader, measures: dict[Measure, set[str]]
    ) -> list[tuple[int, int, tuple[Mark, ...]]]:
        """Return place, length and marks of each spelling the tables know.

        The numbers between, and what each is a number of, are kept in the other two.
        """
        known = self.tables.spellings
        found = []
        place = 0
        while place < len(tokens):
            word, kind, _ = tokens[place]
            marks, length = longest(known, tokens, place) if word in known.following else ((), 0)
            if not length and (kind == "number" or word in HEADS):
                length = numbers.read(place)
                if length:
                    marks, used = longest(self.tables.after_number, tokens, place + length)
                    others, other_used = longest(known, tokens, place + length)
                    signed = (
                        longest(known, tokens, place - 1)[0]
                        if place and tokens[place - 1].text in SIGNS
                        else ()
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
            if word in self.tables.parted and length < 2:
                lasts = self.tables.parted[word]
                for last in tokens[place + 2 : place + 2 + GAP]:
                    if last.text in lasts:
                        marks, length = lasts[last.text], 1
                        break
            if marks:
                found.append((place, length, marks))
            place += length or 1
        return found


def _keep_measures(measures: dict[Measure, set[str]], number: str, marks: tuple[Mark, ...]) -> None:
    for mark in marks:
        if mark.rule in MEASURED:
            measures[mark.rule, number].add(mark.value)


def longest(root: Node, tokens: list[Token], start: int) -> tuple[tuple[Mark, ...], int]:
    """Return the marks of the longest spelling that begins here, and its number of tokens; 0 for none."""
    node = root
    marks: tuple[Mark, ...] = ()
    length = 0
    for place in range(start, len(tokens)):
        following = node.following.get(tokens[place].text)
        if following is None:
            break
        node = following
        if node.marks is not None:
            marks, length = node.marks, place + 1 - start
    return marks, length


def _begins_in_latin(tokens: list[Token]) -> bool:
    first = tokens[:LEADING_WORDS]
    return all(token.kind == "word" for token in first) and any(token.text in FORM_WORDS for token in first)


def _letters(tokens: list[Token], chinese: bool) -> set[str]:
    """Return the capitals that stand by themselves, as in vitamin C, size M and A型."""
    if not chinese and all(token.shown.isupper() for token in tokens if token.kind == "word"):
        return set()
    return {
        token.shown
        for place, token in enumerate(tokens)
        if token.shown in SIZES
        or (
            (len(token.shown) == 1 and token.shown.isupper() and token.shown != "I")
            and (chinese if not place else tokens[place - 1].kind != "number")
        )
    }


def _says(token: Token) -> bool:
    return token.text not in (SMALL_HAN if token.kind == "han" else FORM_WORDS)


@lru_cache(STEMS_REMEMBERED)
def stem_of(word: str) -> str:
    """Return what the forms of a word have in common, roughly."""
    stem = ENDING.sub("", word)
    if len(stem) > 2 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem[:STEM]


def _stem(token: Token) -> str:
    return token.text if token.kind == "han" else stem_of(token.text)


def _content(tokens: list[Token], skipped: set[int]) -> frozenset[str]:
    """Return the stems of the words that say something, but for those at the places skipped."""
    found = set()
    for place, (text, kind, _) in enumerate(tokens):
        if place in skipped:
            continue
        if kind == "han":
            if text not in SMALL_HAN:
                found.add(text)
        elif text not in FORM_WORDS:
            found.add(stem_of(text))
    return frozenset(found)


def _denied(tokens: list[Token], negated: set[int]) -> Iterator[str]:
    """Give the first word with a meaning behind each negation."""
    for place in negated:
        if place + 1 not in negated:
            yield from islice((_stem(token) for token in tokens[place + 1 :] if _says(token)), 1)


def _is_state(tokens: list[Token], start: int, length: int) -> bool:
    """Tell 压缩过的 and 被锁定, which are how a thing is, from what is done to it."""
    if tokens[start].kind != "han":
        return False
    behind = "".join([token.text for token in tokens[start + length : start + length + 2]])
    return behind.startswith(STATE_ENDINGS) or (start > 0 and tokens[start - 1].text in "被已")


def _asks_either(tokens: list[Token], start: int, length: int) -> bool:
    """Tell the 不 and 没 of 能不能, of 可以不可以 and of a final 好不 from a negation."""
    end = start + length
    if end == len(tokens) and tokens[start].text != "未":
        return True
    for span in (1, 2):
        before = [token.text for token in tokens[max(0, start - span) : start]]
        if before and before == [token.text for token in tokens[start + 1 : start + 1 + span]]:
            return True
    return False
