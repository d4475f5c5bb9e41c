"""Which questions mean the same without what was said before them."""

from pathlib import Path

import pytest

from modelcache.language.standing import MAX_CHARS, Standing

STANDING = Standing.shipped()
# Written after the tables, to lean on a conversation without a word that says so.
FOLLOW_UPS = Path(__file__).parent / "data" / "follow_ups.txt"


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "How many moons does Jupiter have?",
        "Who wrote Romeo and Juliet?",
        "How do I sort a dictionary by value in Python?",
        "What causes inflation in developing countries?",
        "How can I remove coffee stains from a white shirt?",
        "In which year did Napoleon Bonaparte die?",
        "How do I pretty-print a JSON file on the command line?",
        "Why is the sky blue at noon in summer?",
        "北京到上海的高铁多长时间",
        "苹果手机怎么恢复出厂设置",
        "感冒发烧吃什么药好得快？",
        "中国历史上第一个皇帝是谁",
        "Python怎么读取CSV文件",
        "土耳其的首都伊斯坦布尔有多少人口",
    ],
)
def test_a_whole_question_stands_on_its_own(text: str) -> None:
    assert STANDING.stands_alone(text)


@pytest.mark.parametrize(
    "text",
    [
        # What points back.
        "How big is it in square kilometres compared to London?",
        "Why did they close the embassy in Berlin in 2012?",
        "What does that function in Python return for negative numbers?",
        "How many people live there in the summer months?",
        "Which one of the Python frameworks handles requests faster?",
        "What did the former president of France think about Germany?",
        "What is the second largest city?",
        "Do you deliver large parcels to Canada as well?",
        "What should I cook for my Italian friends on Sunday?",
        "它在中国一共有多少家分店",
        "他是哪一年在北京出生的",
        "这个函数在Python里怎么用",
        "上面的方法在Windows系统上怎么实现",
        "其中哪个城市的房价最高",
        "前者和后者在性能方面有什么区别",
        # Half a sentence, or an order to do something with what was said.
        "And in Python?",
        "But how does inflation affect developing countries?",
        "What about the bridges in central London?",
        "How about trains from Oslo to Bergen?",
        "Translate it into French",
        "Translate good morning into French and German please",
        "Shorter please",
        "continue",
        "In Python with type hints, how does reading CSV files work?",
        "那么北京的地铁一共有多少条线路",
        "还有苹果手机怎么恢复出厂设置",
        "上海的地铁一共有多少条线路呢？",
        "用英文说一下怎么恢复出厂设置",
        "再详细一点",
        "继续",
        # Too little to be whole.
        "why?",
        "how come",
        "为什么？",
        "为什么呢？",
        "How much does it cost?",
        "Who won?",
        "what are the side effects?",
        "How do I install the library?",
        "Can I pay with a credit card?",
        "有什么副作用吗",
        "需要准备什么材料",
        "怎么申请退款",
        "",
        "?!",
        "🙂",
        # No question, or of another language.
        "Paris Rome Berlin London Madrid",
        "苹果手机恢复出厂设置",
        "Combien de ponts traversent la Seine à Paris ?",
        "Сколько мостов через Темзу в Лондоне?",
        "東京から大阪まで新幹線でどのくらいかかりますか",
        "What is the capital of France? " * 12,
    ],
)
def test_whatever_may_lean_on_something_does_not(text: str) -> None:
    assert not STANDING.stands_alone(text)


def test_few_follow_ups_pass_that_no_word_gives_away() -> None:
    follow_ups = FOLLOW_UPS.read_text("utf-8").splitlines()
    assert sum(map(STANDING.stands_alone, follow_ups)) <= 0.15 * len(follow_ups)


def test_a_long_text_is_not_read() -> None:
    text = "How many moons does Jupiter have, and how many does Saturn have in contrast to Jupiter?"
    assert STANDING.stands_alone(text.ljust(MAX_CHARS))
    assert not STANDING.stands_alone(text.ljust(MAX_CHARS + 1))


@pytest.mark.parametrize(
    "text",
    [
        "From now on, answer in French.",
        "I'm a diabetic",
        "Call me Bob",
        "Pretend to be a pirate",
        "以后都用英文回答我",
        "你是一个诗人",
    ],
)
def test_some_turns_bind_every_later_answer(text: str) -> None:
    assert STANDING.binds(text)


@pytest.mark.parametrize(
    "text", ["Tell us about Paris", "How do I reset my router?", "介绍一下巴黎", "Thanks!", ""]
)
def test_others_do_not(text: str) -> None:
    assert not STANDING.binds(text)
