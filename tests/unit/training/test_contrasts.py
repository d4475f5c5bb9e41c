"""The pairs made for training: repeatable, balanced, of every kind in both languages, rightly labelled."""

from collections import Counter
from random import Random

import pytest

from modelcache.training.contrasts import contrasts
from modelcache.training.contrasts.edits import different, reworded
from modelcache.training.contrasts.grammar import SLOT, Value
from modelcache.training.contrasts.inflection import gerund, inflected
from modelcache.training.contrasts.numbers import digit_changed, hanzi, ordinal
from modelcache.training.contrasts.surface import slip
from modelcache.training.contrasts.tables import LANGUAGES, family_of, grammar
from modelcache.training.examples import Example

pytestmark = pytest.mark.slow

TEXTS = [
    "How do I buy a house in Spain without a loan?",
    "What are the advantages of living in Boston?",
    "Can I get 20 days of leave in May?",
    "信用卡提前还款怎么办理？",
    "北京和上海哪个好？",
    "花呗额度为什么会降低？",
]
# So many that the rarest kinds occur in both languages.
MADE = 9000
KINDS = """
aim amount clock code condition date direction duration form freshness identifier instruction language model
name negation number object opposite options payload percentage person quoted reorder requirement scope sign
tier unit version year
"""


@pytest.fixture(scope="module")
def made() -> list[Example]:
    """Return enough pairs for every kind to occur."""
    texts = [example.asked for example in contrasts([], 500, 8)]
    return contrasts(texts, MADE, 7)


def test_a_seed_repeats_its_pairs() -> None:
    assert contrasts(TEXTS, 40, 1) == contrasts(TEXTS, 40, 1)
    assert contrasts(TEXTS, 40, 1) != contrasts(TEXTS, 40, 2)


def test_as_many_as_asked_for_and_none_twice(made: list[Example]) -> None:
    assert len(made) == MADE
    assert len({(example.asked, example.cached) for example in made}) == MADE


def test_without_texts_all_is_made_from_the_tables() -> None:
    assert not any(example.kind.startswith("edited") for example in contrasts([], 100, 3))


def test_every_kind_occurs_in_both_languages(made: list[Example]) -> None:
    found = {(example.kind, example.language) for example in made}
    assert [kind for kind in KINDS.split() for language in LANGUAGES if (kind, language) not in found] == []


def test_labels_are_balanced_in_each_kind(made: list[Example]) -> None:
    totals = Counter(example.kind for example in made)
    alike = Counter(example.kind for example in made if example.same)
    shares = {kind: alike[kind] / total for kind, total in totals.items() if total >= 150}
    assert len(shares) >= 8
    assert {kind: share for kind, share in shares.items() if not 0.36 < share < 0.64} == {}


def test_no_pair_is_one_text_twice(made: list[Example]) -> None:
    assert [example for example in made if example.asked.strip() == example.cached.strip()] == []


def test_no_slot_is_left_open(made: list[Example]) -> None:
    names = {language: set(grammar(language).slots) for language in LANGUAGES}
    assert [
        example
        for example in made
        for slot, _, _ in SLOT.findall(example.asked + example.cached)
        if slot in names[example.language]
    ] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_frames_of_a_class_name_slots_that_exist(language: str) -> None:
    tables = grammar(language)
    unknown = {
        f"{topic.name}.{label}: {slot}"
        for topic in tables.topics
        for label, frames in topic.classes.items()
        for frame in frames
        for slot, _, _ in SLOT.findall(frame)
        if slot not in tables.slots and not topic.rules.exact
    }
    assert unknown == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_name_classes_that_exist(language: str) -> None:
    for topic in grammar(language).topics:
        named = topic.rules.directed | topic.rules.symmetric
        assert named <= topic.classes.keys(), topic.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_of_a_family_share_no_spelling(language: str) -> None:
    for name, source in grammar(language).slots.items():
        for family in getattr(source, "families", ()):
            spellings = [spelling for value in family for spelling in value]
            assert len(spellings) == len(set(spellings)), (name, Counter(spellings).most_common(1))


def test_spellings_of_a_value_are_parted_from_its_siblings() -> None:
    assert family_of("cancel | call off; renew") == (("cancel", "call off"), ("renew",))


def test_a_change_leaves_all_other_parts() -> None:
    tables, rng = grammar("en"), Random(4)
    topic = next(topic for topic in tables.topics if topic.name == "travel")
    value = tables.fill(Value(topic.classes["go"], topic, label="go"), rng)
    changes = [change for change in tables.changes(value, rng) if change.kind == "name"]
    assert changes
    for change in changes:
        assert sum(change.value.parts[name] != value.parts[name] for name in value.parts) == 1


def test_exchanging_twice_gives_the_value_back() -> None:
    tables, rng = grammar("zh"), Random(5)
    for topic in tables.topics:
        value = tables.fill(topic.pick(rng), rng)
        assert tables.exchanged(tables.exchanged(value)).parts == value.parts


def test_words_are_inflected() -> None:
    assert [gerund(word) for word in ("make", "stop", "see", "tie", "open")] == [
        "making",
        "stopping",
        "seeing",
        "tying",
        "opening",
    ]
    assert inflected("turn on Bluetooth", "ing") == "turning on Bluetooth"
    assert inflected("怎么退货", "end") == "怎么退货。"
    assert inflected("why?", "end") == "why?"


def test_numbers_are_written() -> None:
    assert [hanzi(number) for number in (0, 2, 10, 12, 20, 95)] == [
        "零",
        "二",
        "十",
        "十二",
        "二十",
        "九十五",
    ]
    assert [ordinal(number) for number in (1, 2, 3, 11, 22, 30)] == [
        "1st",
        "2nd",
        "3rd",
        "11th",
        "22nd",
        "30th",
    ]


@pytest.mark.parametrize("code", ["A-100", "#5567", "77B", "503", "12"])
def test_a_changed_code_is_another_code(code: str) -> None:
    assert all(digit_changed(code, Random(seed)) != code for seed in range(60))


def test_a_slip_keeps_ends_and_what_a_question_turns_on() -> None:
    for seed in range(60):
        assert slip("unlock it without install", Random(seed)) == "unlock it without install"
        changed = slip("my subscription", Random(seed))
        assert changed.startswith("my su")
        assert abs(len(changed) - len("my subscription")) <= 1


@pytest.mark.parametrize(
    ("text", "language", "kind", "lost"),
    [
        ("the cost of a trip to Spain", "en", "name", "Spain"),
        ("should I buy it", "en", "opposite", "buy"),
        ("tea without sugar", "en", "negation", "without"),
        ("top 10 reasons", "en", "number", "10"),
        ("想去北京旅游", "zh", "name", "北京"),
        ("怎么上传简历", "zh", "opposite", "上传"),
    ],
)
def test_edits_of_real_questions(text: str, language: str, kind: str, lost: str) -> None:
    for seed in range(10):
        edited = different(text, language, Random(seed))
        assert edited is not None
        changed, found = edited
        assert found == kind
        assert lost not in changed.split() if language == "en" else lost not in changed


@pytest.mark.parametrize("text", ["Make a cake", "Go home", "may I march"])
def test_ordinary_words_are_no_names(text: str) -> None:
    assert different(text, "en", Random(1)) is None


@pytest.mark.parametrize("text", TEXTS)
def test_rewording_keeps_numbers_and_negations(text: str) -> None:
    language = "en" if text.isascii() else "zh"
    for seed in range(30):
        again = reworded(text, language, Random(seed)).lower()
        assert ("without" in again) == ("without" in text.lower())
        assert ("20" in again) == ("20" in text)
