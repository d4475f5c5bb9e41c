"""Words that are names by their looks: a capital, Latin letters inside Chinese, the marks of a title."""

import re

from modelcache.language.tokens import HAN, Token

# How one is addressed behind one's name.
ADDRESSES = (
    "老师|医生|先生|女士|小姐|经理|主任|教授|总监|总裁|律师|师傅|同学|院长|校长|局长|处长|部长|主席|书记|总理|总统|将军"
    "|博士|大夫|护士|教练|导演|工程师|阿姨|叔叔|老板|主管|店长|会计|顾问|导师|院士|警官|法官|董事长|班长|组长|队长|行长|市长"
)
NEVER = re.compile("(?!)")
TITLE = re.compile(r"《([^《》]{1,40})》")


def names_of(tokens: list[Token], marked: set[int], chinese: bool) -> frozenset[str]:
    """Return the words that look like names, but for those at ``marked``, which the tables know."""
    words = [(place, token) for place, token in enumerate(tokens) if token.kind == "word"]
    if chinese:
        named = [place for place, _ in words]
    elif all(token.shown[0].isupper() for _, token in words):
        # Where every word begins with a capital, a capital says nothing.
        return frozenset()
    else:
        named = [place for place, token in words if token.shown[0].isupper()]
        if named[:1] == [words[0][0]] and not words[0][1].shown.isupper():
            named = named[1:]
    return frozenset(
        tokens[place].text for place in named if place not in marked and len(tokens[place].text) > 1
    )


def titles_of(text: str) -> frozenset[str]:
    """Return what stands in 《》."""
    return frozenset("".join(title.split()).lower() for title in TITLE.findall(text))


def persons_before_address(surnames: set[str]) -> re.Pattern[str]:
    """Find a surname, and up to two characters of a given name, before a form of address."""
    if not surnames:
        return NEVER
    return re.compile(f"([{''.join(sorted(surnames))}][{HAN}]{{0,2}}?)(?:{ADDRESSES})")
