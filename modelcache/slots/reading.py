"""From a text to its slots: what it says of numbers, names, negation and whatever the tables list."""

import re
from collections import defaultdict
from functools import partial

from modelcache.language.durations import durations_of
from modelcache.language.number_reading import NumberReader
from modelcache.language.tokens import FORM_WORDS, HAN, Token, tokens_of
from modelcache.language.written import language_of
from modelcache.slots.asking import parts_of, voice_of, word_asked_about
from modelcache.slots.content import content_of, denied_of, initials_of, letters_of
from modelcache.slots.directions import links_of
from modelcache.slots.identifiers import identifiers_of
from modelcache.slots.listed import Listed
from modelcache.slots.names import names_of, persons_before_address, titles_of
from modelcache.slots.payload import payload_of
from modelcache.slots.places import places_of
from modelcache.slots.record import Measure, Slots
from modelcache.slots.signs import signs_of
from modelcache.slots.spellings import is_unit, spellings_of
from modelcache.slots.tables import Tables

# A longer text is read up to here, so that its cost is bounded.
LONGEST = 4096
# The 不 of 好不？ and the 没有 of 买了没有？ ask.
ASKING = re.compile(rf"(?:(?<=[{HAN}])[不没]|(?<=[了过])没有?)(?=\s*(?:[,，。.!！?？；;]|$))")
# So many words in Latin letters begin a text that is not in Chinese, whatever it quotes.
LEADING_WORDS = 3


class Reader:
    """Reads texts by one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._is_unit = partial(is_unit, tables=tables)
        self._persons = persons_before_address(tables.surnames)

    def read(self, text: str) -> Slots:
        """Find the slots of a text."""
        signs, payload = signs_of(text[:LONGEST]), payload_of(text)
        text = ASKING.sub("", text[:LONGEST])
        tokens = tokens_of(text)
        numbers, listed = NumberReader(tokens), Listed(tokens)
        measures: dict[Measure, set[str]] = defaultdict(set)
        for spelling in spellings_of(tokens, self.tables, numbers, measures):
            listed.add(*spelling)
        han = "".join([token.text for token in tokens if token.kind == "han"])
        if letters := letters_of(tokens, bool(han)):
            listed.values["letter", "letter"] = letters
        # A Chinese sentence to be translated is no Chinese question.
        chinese = bool(han) and not _begins_in_latin(tokens)
        names = names_of(tokens, listed.marked, chinese) - self.tables.common
        return Slots(
            values={axis: frozenset(found) for axis, found in listed.values.items()},
            numbers=numbers.plain,
            vague=frozenset(numbers.vague),
            counts=numbers.counts,
            clocks=frozenset(numbers.clocks),
            durations=durations_of(tokens),
            measures={amount: frozenset(found) for amount, found in measures.items()},
            names=names,
            titles=titles_of(text),
            persons=frozenset(self._persons.findall(text)),
            initials=initials_of(tokens),
            links=links_of(tokens, listed.turns),
            places=places_of(text, tokens, listed.turns, listed.roles, names, mutual=listed.mutual),
            words=frozenset([token.text for token in tokens]),
            content=content_of(tokens, listed.negated | listed.named),
            denied=frozenset(denied_of(tokens, listed.negated)),
            han=han,
            signs=signs,
            identifiers=identifiers_of(text, self._is_unit),
            mentioned=word_asked_about(text, tokens),
            voice=voice_of(tokens),
            language=language_of(text, self.tables.small_words),
            parts=parts_of(text),
            payload=payload,
        )


def _begins_in_latin(tokens: list[Token]) -> bool:
    first = tokens[:LEADING_WORDS]
    return all(token.kind == "word" for token in first) and any(token.text in FORM_WORDS for token in first)
