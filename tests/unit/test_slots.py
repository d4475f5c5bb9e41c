"""The slot guard tells questions apart, and lets other wordings of one pass."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcache.errors import ConfigError
from modelcache.language.tokens import words_of
from modelcache.slots.comparing import differences
from modelcache.slots.guard import SlotGuard
from modelcache.slots.reading import LONGEST, Reader
from modelcache.slots.tables import Tables, inflections, load_tables

DATA = Path(__file__).parents[1] / "data"
TABLES = load_tables()
GUARD = SlotGuard(TABLES)
READER = Reader(TABLES)
# A unit that is converted: the guard does not calculate.
REFUSED_THOUGH_EQUAL = {("5公里要跑多久", "五千米要跑多久")}

AGREE = [tuple(line.split("\t")) for line in (DATA / "slots_agree.tsv").read_text("utf-8").splitlines()]
DIFFER = [tuple(line.split("\t")) for line in (DATA / "slots_differ.tsv").read_text("utf-8").splitlines()]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def test_the_suite_is_large_and_half_chinese() -> None:
    for pairs in (AGREE, DIFFER):
        chinese = sum(is_chinese(pair[-1]) for pair in pairs)
        assert len(pairs) >= 200
        assert 0.45 <= chinese / len(pairs) <= 0.55


def test_pairs_that_differ_in_a_slot_are_refused_by_its_rule() -> None:
    wrong = [pair for pair in DIFFER if GUARD.compare(*pair[1:]) != pair[0]]
    assert wrong == []


def test_other_wordings_pass() -> None:
    refused = {pair for pair in AGREE if GUARD.compare(*pair)}
    assert refused == REFUSED_THOUGH_EQUAL
    assert len(refused) <= 0.02 * len(AGREE)


SIGNS_DIFFER = [
    tuple(line.split("\t")) for line in (DATA / "signs_differ.tsv").read_text("utf-8").splitlines()
]
SIGNS_AGREE = [tuple(line.split("\t")) for line in (DATA / "signs_agree.tsv").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("rule", "asked", "cached"), SIGNS_DIFFER)
def test_what_a_model_hardly_sees_tells_apart(rule: str, asked: str, cached: str) -> None:
    assert rule in GUARD.differences(asked, cached)
    assert rule in GUARD.differences(cached, asked)


@pytest.mark.parametrize(("asked", "cached"), SIGNS_AGREE)
def test_form_does_not_tell_apart(asked: str, cached: str) -> None:
    assert GUARD.differences(asked, cached) == []
    assert GUARD.differences(cached, asked) == []


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("a:\n  b: 1\n  c: 2", "a:\n  b: 1\nc: 2", "space"),
        ("a:\n  b: 1\n  c: 2", "a:\n    b: 1\n    c: 2", ""),
        ("  a:\n    b: 1", "a:\n  b: 1", ""),
        ("Is this\nfine?", "Is this fine?", ""),
        ("What does rm -r ./ out do?", "What does rm -r ./out do?", "space"),
        ("What is len(' ')?", "What is len('  ')?", "quoted"),
    ],
)
def test_space_speaks_in_code_only(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("rent for 1,000 people", "rent for one thousand people", ""),
        ("a flat for 2 adults and 2 children", "a flat for 2 adults and 3 children", "number"),
        ("a flat for 2 adults and 3 children", "a flat for 3 children and 2 adults", ""),
        ("rent 3 rooms for 3 months", "rent 3 rooms", ""),
        ("rent for 1000 people", "rent for 1k people", ""),
        ("一千人吃饭", "1000人吃饭", ""),
        ("一千二百人吃饭", "1200人吃饭", ""),
        ("一亿二千万人口", "12000万人口", ""),
        ("三万五的车", "35000的车", ""),
        ("twenty one guests", "21 guests", ""),
        ("twenty one guests", "22 guests", "number"),
        ("1.50 a litre", "1.5 a litre", ""),
        ("1.50 a litre", "1.55 a litre", "number"),
        ("3.5 million users", "3500000 users", ""),
        ("008 agents", "8 agents", ""),
        ("一年的保修", "两年的保修", "number"),
        ("一起去吃饭要三个人", "三个人吃饭", ""),
        ("ubuntu 20.04 images", "ubuntu 20.4 images", "version"),
        ("ubuntu 22.04.1 images", "ubuntu 22.04.2 images", "version"),
        ("v2 of it", "version 2 of it", ""),
        ("a flat at 3:30", "a flat at 4:30", "time"),
        ("5km away", "5 km away", ""),
        ("5km away", "5 公里 away", ""),
    ],
)
def test_numbers_are_compared_by_value(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("open until 10 pm", "open until 22:00", ""),
        ("open until 10 pm", "open until 10:00", ""),
        ("open until 10 pm", "open until 10 am", "time"),
        ("open until 10 pm", "open until 21:00", "time"),
        ("the alarm at 2:30 at night", "the alarm at 02:30", ""),
        ("closing at 12 am", "closing at 0:00", ""),
        ("lunch at 12 pm", "lunch at 12:00", ""),
        ("at 3 o'clock in the afternoon", "at 15:00", ""),
        ("at 3 o'clock in the morning", "at 15:00", "time"),
        ("the train at 09:30", "the train at 21:30", "time"),
        ("the train at 9", "the train at 9:00", ""),
        ("the train at 9", "the train at 9:30", "time"),
        ("下午3点半开会", "15:30开会", ""),
        ("晚上十点一刻关门", "22:15关门", ""),
        ("今晚8点的电影", "20:00的电影", ""),
        ("早上8点的电影", "晚上8点的电影", "time"),
        ("早上8点20分的车", "早上8点的车", "time"),
        ("a 16:9 screen", "a 4:3 screen", "number"),
    ],
)
def test_times_of_day_are_compared_as_such(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto
    assert GUARD.compare(cached, asked) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("a trial of two weeks", "a trial of 14 days", ""),
        ("a trial of two weeks", "a trial of 15 days", "number"),
        ("a trial of one week", "a trial of one month", "unit"),
        ("a trial of half a year", "a trial of 6 months", ""),
        ("a lease of one and a half years", "a lease of 18 months", ""),
        ("a film of 1 hour and 30 minutes", "a film of 90 minutes", ""),
        ("a film of 1 hour and 30 minutes", "a film of 100 minutes", "number"),
        ("试用期半年", "试用期六个月", ""),
        ("试用期半年", "试用期三个月", "unit"),
        ("试用一周", "试用一个月", "unit"),
        ("还有24小时", "还有一天", ""),
        ("两个半小时的课", "150分钟的课", ""),
        ("一年半的合同", "18个月的合同", ""),
        ("合同期30天", "合同期一个月", ""),
        ("a trial of twenty one days", "a trial of 3 weeks", ""),
        ("a trial of twenty one days", "a trial of 1 day", "number"),
        ("3千年的历史", "3000年的历史", ""),
        ("十三天的行程", "3天的行程", "number"),
    ],
)
def test_lengths_of_time_are_compared_as_such(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto
    assert GUARD.compare(cached, asked) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("how much is 100 dollars in euros?", "how much is 100 euros in dollars?", "currency"),
        ("how much is $100 in euros?", "how much is €100 in dollars?", "currency"),
        ("how much is $100 in euros?", "how many euros is 100 dollars?", ""),
        ("100美元等于多少欧元", "100欧元等于多少美元", "currency"),
        ("5 feet in inches", "5 inches in feet", "unit"),
        ("how many cups are in a quart?", "how many quarts are in a cup?", "unit"),
        ("一公斤等于几斤", "一斤等于几公斤", "unit"),
        ("a pound of 500 g", "a pound has 500 grams", ""),
        ("what does vitamin C do?", "what does vitamin D do?", "letter"),
        ("A型血的性格", "B型血的性格", "letter"),
        ("is size M in stock?", "is size XL in stock?", "letter"),
        ("A friend of mine is late", "I am late for a friend", ""),
        ("IS THIS A JOKE", "is this a joke", ""),
    ],
)
def test_what_a_number_is_of_and_single_letters_tell_apart(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto
    assert GUARD.compare(cached, asked) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("能不能退货", "能退货", ""),
        ("有没有退货", "退货吗", ""),
        ("可以不可以退货", "可以退货", ""),
        ("吃饭了没", "吃饭了", ""),
        ("特别好的酒店", "好的酒店", ""),
        ("区别在哪", "在哪", ""),
        ("不锈钢水壶", "钢水壶", ""),
        ("我能退货吗", "我不能退货吗", "negation"),
        ("I cannot log on here", "I can not log on here", ""),
        ("I don’t see it here", "I don't see it here", ""),
        ("I can see the picture", "I can't see the picture", "negation"),
        ("which rooms have a sea view", "which rooms have no sea view", "negation"),
        ("my room has no sea view", "there is no sea view in my room", ""),
    ],
)
def test_a_negation_is_no_part_of_another_word(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("drive from Rome to Milan", "drive to Milan from Rome", ""),
        ("drive from Rome to Milan", "drive to Rome from Milan", "direction"),
        ("tea vs coffee at work", "coffee vs tea at work", ""),
        ("从西安到成都多远", "从成都到西安多远", "direction"),
        ("西安和成都哪个好", "成都和西安哪个好", ""),
    ],
)
def test_direction(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("turn the old oven off", "turn the old oven on", "opposite"),
        ("turn off the old oven", "turn the old oven off", ""),
        ("how to unlock a locked phone", "how to lock a phone", "opposite"),
        ("my phone is locked", "unlock my phone", ""),
        ("压缩过的文件怎么解压", "怎么压缩文件", "opposite"),
        ("账户被冻结了", "怎么解冻账户", ""),
        ("停止订阅", "取消订阅", ""),
        ("停止订阅", "订阅", "opposite"),
        ("声音太大", "声音太小", "opposite"),
    ],
)
def test_what_is_so_is_not_what_is_done(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


@pytest.mark.parametrize(
    ("asked", "cached", "veto"),
    [
        ("张老师在哪", "李老师在哪", "name"),
        ("张老师在哪", "张敏老师在哪", ""),
        ("what does the World Health Organization do", "what does the WHO do", ""),
        ("who is Mr. Carl", "who is Mr. Carlson", "name"),
        ("food in India today", "food in indian homes today", ""),
    ],
)
def test_names_and_their_forms(asked: str, cached: str, veto: str) -> None:
    assert GUARD.compare(asked, cached) == veto


def test_a_year_is_no_amount() -> None:
    assert GUARD.compare("plans for the trip in 2016", "plans for the trip of 3 days") == ""
    assert GUARD.compare("a trip for 2016 dollars", "a trip for 300 dollars") == "number"


def test_small_us_is_no_country() -> None:
    assert GUARD.compare("who rules the US now", "who rules the UK now") == "name"
    assert GUARD.compare("who tells us now", "who tells the UK now") == ""


def test_accents_and_width_say_nothing() -> None:
    assert GUARD.compare("Is Pokémon fun?", "is pokemon fun") == ""
    assert GUARD.compare("ＡＢＣ　１２３", "abc 123") == ""


def test_the_first_rule_names_the_refusal_and_all_are_known() -> None:
    asked, cached = READER.read("buy 3 red cars"), READER.read("sell 4 blue cars")
    rules = list(differences(asked, cached, TABLES))
    assert rules[0] == GUARD.compare("buy 3 red cars", "sell 4 blue cars") == "number"
    assert {"opposite", "colour"} < set(rules)


def test_a_guard_without_tables_refuses_nothing() -> None:
    assert SlotGuard(None).compare("3 apples", "4 apples") == ""


def test_a_long_text_is_read_up_to_a_bound() -> None:
    assert GUARD.compare("x" * LONGEST + " 3", "x" * LONGEST + " 4") == ""


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("enable", {"enable", "enables", "enabled", "enabling"}),
        ("deny", {"deny", "denies", "denied", "denying"}),
        ("push", {"push", "pushes", "pushed", "pushing"}),
        ("log in", {"log in", "logs in", "logged in", "logging in"}),
    ],
)
def test_regular_forms_of_a_verb(verb: str, forms: set[str]) -> None:
    assert forms <= set(inflections(verb))


# Whatever the text.

TEXTS = [text for pair in [*AGREE, *(pair[1:] for pair in DIFFER)] for text in pair]
WORDS = sorted({word for text in TEXTS for word in words_of(text)})
ANY_TEXT = st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map(" ".join))
QUESTIONS = st.sampled_from(TEXTS)


@pytest.mark.slow
@given(ANY_TEXT, ANY_TEXT)
def test_comparing_never_raises_and_is_symmetric(one: str, other: str) -> None:
    assert GUARD.compare(one, other) == GUARD.compare(other, one)


@given(ANY_TEXT)
def test_a_text_never_differs_from_itself(text: str) -> None:
    assert list(differences(READER.read(text), READER.read(text), TABLES)) == []


@given(st.text(alphabet="零一二两三十百千万亿0123456789,.: 元米年kmillion", max_size=60))
def test_any_number_is_read(text: str) -> None:
    assert GUARD.compare(text, text + " ") == ""


@given(QUESTIONS, st.sampled_from(["?", "!", "。", "？", "…", "  ", "\n", " ?!"]))
def test_space_and_final_punctuation_change_nothing(text: str, ending: str) -> None:
    # A percent sign is no punctuation: it says what a number is.
    bare = text.rstrip(string.punctuation.replace("%", "") + "？。")
    assert GUARD.compare(text, bare + ending) == ""
    assert GUARD.compare(text, f"  {text.replace(' ', '   ')}{ending}") == ""


@given(QUESTIONS)
def test_case_changes_nothing(text: str) -> None:
    # Mb is another unit than MB, and in code case speaks.
    odd = () if re.search(r"[MG]B|\w\(\)", text) else (text.title(), text.swapcase())
    for changed in (text.lower(), text.upper(), *odd):
        assert GUARD.compare(text, changed) == ""
        assert GUARD.compare(changed, text.lower()) == ""


# Tables of one's own.

OWN = """
off = ["colour"]

[slot.plan]
one_sided = true
[slot.plan.values]
basic = ["basic plan", "基础版"]
pro = ["pro plan", "专业版"]

[slot.name.values]
acme = ["acme", "阿克梅"]
umbrella = ["umbrella", "安布雷拉"]

[opposites]
valve = [["vent"], ["seal"]]

[ignored]
words = ["不二家"]
"""


@pytest.fixture
def own_guard(tmp_path: Path) -> SlotGuard:
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    return SlotGuard(load_tables(path))


@pytest.mark.parametrize(
    ("asked", "cached", "shipped", "own"),
    [
        ("price of the basic plan", "price of the pro plan", "", "plan"),
        ("price of the basic plan", "price of the plan", "", "plan"),
        ("who owns acme today", "who owns umbrella today", "", "name"),
        ("阿克梅的电话", "安布雷拉的电话", "", "name"),
        ("vent the tank", "seal the tank", "", "opposite"),
        ("a red shirt", "a blue shirt", "colour", ""),
        ("不二家的糖好吃", "家的糖好吃", "negation", ""),
        ("4 apples", "5 apples", "number", "number"),
    ],
)
def test_own_tables_add_to_the_shipped_ones(
    own_guard: SlotGuard, asked: str, cached: str, shipped: str, own: str
) -> None:
    assert GUARD.compare(asked, cached) == shipped
    assert own_guard.compare(asked, cached) == own


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[slot.x", "cannot read the slot tables"),
        ("[unknown]\nx = 1", "unknown table [unknown]"),
        ("slot = 1", "slot must be a table"),
        ("[slot]\nx = 1", "slot.x must be a table"),
        ("[slot.x.values]\ny = 'z'", "slot.x.values.y must be a list of words"),
        ("[slot.x.values]\ny = [1]", "slot.x.values.y must be a list of words"),
        ("[slot.x.values]\ny = ['?']", "slot.x.values.y must be a list of words"),
        ("[slot.x]\none_sided = 'yes'", "slot.x has no 'one_sided' of this kind"),
        ("[opposites]\nx = [['a']]", "opposites.x must be two lists of spellings"),
        ("[negation]\nnever = ['x']", "[negation] has no list 'never'"),
        ("[inflected]\nx = [['turn …'], ['a']]", "must stand between two words"),
        ("[degrees]\npairs = ['abc']", "degrees.pairs must be pairs of characters"),
        ("[degrees]\nmiddle = ['a']", "[degrees] has no list 'middle'"),
        ("[written-in]\nen = ['the']", "written-in.en must be text"),
        ("[surnames]\ncharacters = 1", "surnames.characters must be text"),
        ("off = 'number'", "off must be a list of words"),
    ],
)
def test_bad_tables_are_told_in_a_sentence(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        load_tables(path)
    assert problem in str(told.value)
    assert str(path) in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the slot tables"):
        load_tables(tmp_path / "absent.toml")


def test_tables_begin_empty() -> None:
    guard = SlotGuard(Tables())
    assert guard.compare("open it", "close it") == ""
    assert guard.compare("open 3", "open 4") == "number"
