"""What the tables' spellings say in one text: which values, who acts, what is denied."""

from collections import defaultdict

from modelcache.language.tokens import Token
from modelcache.language.trie import Mark
from modelcache.slots.directions import Turn
from modelcache.slots.places import Role, role_of
from modelcache.slots.record import Axis
from modelcache.slots.tables import SIDES, STATE

# To stop or to cancel what one side says, as in 停止订阅, is the other side.
UNDOING = frozenset({"open-close", "start-stop"})
UNDONE = frozenset({"attach", "lock", "show-hide", "renewal"})
STATE_ENDINGS = ("了", "过的", "好的", "后的")
EITHER = frozenset("不没未")


class Listed:
    """Takes a text's spellings one after the other, by place, length and marks."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._undone: set[int] = set()
        self.values: dict[Axis, set[str]] = defaultdict(set)
        self.turns: list[Turn] = []
        """The direction words."""
        self.roles: dict[int, Role] = {}
        """By place."""
        self.mutual = False
        """Whether something puts two on one footing."""
        self.marked: set[int] = set()
        """Places of what has a value."""
        self.negated: set[int] = set()
        """Places of negations."""
        self.named: set[int] = set()
        """Places of names."""

    def add(self, start: int, length: int, marks: tuple[Mark, ...]) -> None:
        """Keep what a spelling stands for here."""
        if self._tokens[start].text in EITHER and _asks_either(self._tokens, start, length):
            return
        for mark in marks:
            if mark.rule == "direction":
                self.turns.append((start, length, mark.value))
            elif mark.rule == "mutual":
                self.mutual = True
            elif mark.rule != "opposite" or start - 1 not in self.negated:
                # What is denied, as in "not open", is on neither side.
                self._keep(start, length, mark)

    def _keep(self, start: int, length: int, mark: Mark) -> None:
        rule, axis, value = mark
        places = range(start, start + length)
        self.marked.update(places)
        if role := role_of(axis, value):
            self.roles[start] = role
        if rule == "opposite":
            axis, value = self._side(start, length, axis, value)
        elif rule == "name":
            self.named.update(places)
        elif rule == "negation" and value == "words":
            self.negated.update(places)
        self.values[rule, axis].add(value)

    def _side(self, start: int, length: int, axis: str, value: str) -> tuple[str, str]:
        """Return the axis and the side that an opposite stands for here."""
        if self._tokens[start].text in EITHER:
            self.values["negation", "negation"].add("words")
            self.negated.add(start)
        if axis in UNDOING and value == SIDES[1]:
            self._undone.add(start + length)
        if _is_state(self._tokens, start, length):
            return axis + STATE, value
        if start in self._undone and axis in UNDONE:
            return axis, SIDES[value == SIDES[0]]
        return axis, value


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
