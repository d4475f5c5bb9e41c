"""Which questions mean the same without what was said before them."""

from pathlib import Path

import pytest

from modelcache.language.standing import MAX_CHARS, Standing

STANDING = Standing.shipped()
# Written after the tables, to lean on a conversation without a word that says so.
FOLLOW_UPS = Path(__file__).parents[1] / "data" / "follow_ups.txt"


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
        "What is the capital of France?",
        "How many moons does Jupiter have?",
        "How does Node.js handle file uploads in version 2.5?",
        "北京到上海的高铁多长时间",
        "Python怎么读取CSV文件？",
    ],
)
def test_some_turns_only_ask(text: str) -> None:
    assert STANDING.only_asks(text)


INSTRUCTIONS = (
    *(
        "From now on, answer in French.",
        "Use metric units only.",
        "JSON only.",
        "Reply in one word",
        "No emojis please",
    ),
    *(
        "Answer as if I were five",
        "Keep every answer under fifty words",
        "Speak like Yoda",
        "Call me Bob",
        "Be blunt",
    ),
    *(
        "Pretend to be a pirate",
        "Use British spelling",
        "Give prices in euros",
        "Only cite peer-reviewed studies",
    ),
    *(
        "Can you answer everything in Spanish from here?",
        "Would you write all code in Rust for this project?",
    ),
    *(
        "Could you use Celsius when you mention temperatures?",
        "What follows is about Python 2, so answer for Python 2",
    ),
    *(
        "以后都用英文回答我",
        "你是一个诗人",
        "只输出JSON",
        "请用公制单位",
        "回答不要超过二十个字",
        "用繁体中文",
        "不要用表情符号",
    ),
    *("你能用英文回答问题吗", "从现在开始你叫小明可以吗", "假设现在是1990年，中国有多少人口"),
)
FACTS = (
    *("I'm a diabetic", "My kid is 3", "I live in Berlin and rent a flat", "We run PostgreSQL 9.6 on Debian"),
    *(
        "Patient: female, 71, on warfarin, kidney function reduced",
        "The meeting moved to Tuesday. Who wrote Hamlet?",
    ),
    *(
        "What is the boiling point of water? I am on a mountain.",
        "How much flour is needed, if the pan is 20 cm?",
    ),
    *(
        "我对花生过敏",
        "我家孩子三岁",
        "患者女，71岁，服用华法林",
        "公司在上海，员工两百人",
        "我住在成都，附近有什么好玩的地方",
    ),
)


@pytest.mark.parametrize(
    "text", [*INSTRUCTIONS, *FACTS, "Tell us about Paris", "介绍一下巴黎", "Thanks!", ""]
)
def test_orders_and_statements_do_more(text: str) -> None:
    assert not STANDING.only_asks(text)
