"""What a Chinese text asks for, where no listed word says it: the meaning of a part, whether, how good."""

import re
from collections.abc import Iterator

from modelcache.slots.tokens import HAN

# In 喜出望外的望是什么意思 the meaning of a part is asked for.
PART = re.compile(
    rf"(?:中的|里的|的|中|里)[‘“\"']?(?P<part>[{HAN}]{{1,2}}?)[’”\"']?字?(?:的意思|(?:是|指)?(?:什么|啥)意思)"
)
WHETHER = re.compile(
    "(?:吗|么|嘛|没有|没|不)[呢啊呀的]?[?？。!！~ ]*$|是否|会不会|能不能|可不可以|是不是|要不要|需不需要"
)
OTHERWISE = re.compile("什么|怎么|怎样|如何|为何|啥|谁|哪|几|多[少久大高远长]|咋|何时")
# Who asks whether wants to know how and where as well, as a rule, and how good it is.
AS_WHETHER = frozenset({"whether", "how", "where", "rating"})
# At a text's end these ask how good something is.
RATING = ("如何", "怎样", "怎么样", "咋样")
FINAL = "呀啊呢吗嘛吧哦"


def parts_of(text: str) -> Iterator[str]:
    """Give what is asked for by itself though the saying before holds it too."""
    for match in PART.finditer(text):
        if match["part"] in text[: match.start()]:
            yield match["part"]


def kinds_of(text: str, han: str, listed: frozenset[str]) -> frozenset[str]:
    """Return the kinds of question a text is; the tables know ``listed``; ``han``: its characters."""
    if han.rstrip(FINAL).endswith(RATING):
        return frozenset({"rating"})
    if listed or not WHETHER.search(text) or OTHERWISE.search(text):
        return listed
    return AS_WHETHER
