"""Any number of different questions, half Chinese and half English, as long as people's are.

Made from templates, so that speed can be measured anywhere with the same texts. They are no measure of
meaning: that takes real pairs, see ``question_pairs``.
"""

from collections.abc import Iterator
from itertools import islice, product

ENGLISH = (
    "How do I {verb} my {thing} {when}?",
    "Why can't I {verb} the {thing} {when}?",
    "What does it cost to {verb} a {thing} {when}?",
    "Is it possible to {verb} an old {thing} {when}?",
)
ENGLISH_WORDS = {
    "verb": ("open", "close", "renew", "transfer", "cancel", "insure", "register", "share", "rent", "update"),
    "thing": (
        *("savings account", "phone contract", "driving licence", "travel ticket", "water meter"),
        *("student loan", "web site", "password", "library card", "delivery address"),
    ),
    "when": ("from abroad", "on a Sunday", "after midnight", "without a receipt", "as a visitor"),
}
CHINESE = (
    "怎么{verb}{when}的{thing}？",
    "为什么不能{verb}{when}的{thing}？",
    "{verb}{when}的{thing}要多少钱？",
)
CHINESE_WORDS = {
    "verb": ("开通", "关闭", "续费", "转让", "取消", "投保", "注册", "分享", "出租", "更新"),
    "thing": (
        "储蓄账户",
        "手机套餐",
        "驾驶证",
        "车票",
        "水表",
        "助学贷款",
        "网站",
        "密码",
        "借书证",
        "收货地址",
    ),
    "when": ("国外", "周日", "半夜", "没有收据", "外地人"),
}


def questions(count: int, about: str = "") -> list[str]:
    """Return this many different questions; those about different things have no question in common."""
    return list(islice(_endless(about), count))


def _endless(about: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        for english, chinese in zip(
            _filled(ENGLISH, ENGLISH_WORDS), _filled(CHINESE, CHINESE_WORDS), strict=False
        ):
            yield f"{english} ({about} {number})"
            yield f"{chinese}（{about}{number}）"


def _filled(templates: tuple[str, ...], words: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for values in product(*words.values()):
        for template in templates:
            yield template.format(**dict(zip(words, values, strict=True)))
