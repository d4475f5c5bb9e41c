"""Greetings and thanks: turns that a conversation is the same without."""

from collections.abc import Sequence

from modelcache.language.wording import shipped_wording
from modelcache.records.dialogue import ASSISTANT, SYSTEM, USER, turns_in

Turns = Sequence[tuple[str, str]]

LONGEST_GREETING = 64
# A longer reply to a greeting, or one with a number, may say something that is spoken of later.
LONGEST_REPLY = 160
# What an assistant says back, beside what is dropped from any question.
REPLIES = (
    *("how can i help you today", "how can i help you", "how can i help", "how may i help you today"),
    *("how may i help you", "how can i assist you today", "how can i assist you", "what can i do for you"),
    *("you are welcome", "you're welcome", "glad i could help", "happy to help", "no problem", "anytime"),
    *("is there anything else", "nice to meet you"),
    *(
        "有什么可以帮您",
        "有什么可以帮你",
        "有什么我可以帮",
        "有什么能帮",
        "很高兴为您服务",
        "很高兴为你服务",
        "不客气",
        "不用谢",
    ),
    "请问有什么",
)
# What greets as a whole turn; inside a question it may be what is asked about.
GREETINGS = frozenset(
    {
        "good morning",
        "good afternoon",
        "good evening",
        "早上好",
        "早安",
        "上午好",
        "下午好",
        "晚上好",
    }
)


def telling_places(turns: Turns) -> list[int]:
    """Return the places of all turns but those of users that only greet or thank, and replies to them.

    The last turn stays, whatever it says.
    """
    places: list[int] = []
    place, last = 0, len(turns) - 1
    while place <= last:
        role, text = turns[place]
        if place < last and role == USER and says_nothing(text):
            follows = place + 1
            replied = follows < last and turns[follows][0] == ASSISTANT and _is_polite(turns[follows][1])
            place += 1 + replied
        else:
            places.append(place)
            place += 1
    return places


def without_small_talk(turns: Turns) -> list[tuple[str, str]]:
    """Return the turns at the ``telling_places``."""
    return [turns[place] for place in telling_places(turns)]


def says_nothing(text: str) -> bool:
    """Tell a turn that only greets or thanks."""
    if len(text) > LONGEST_GREETING:
        return False
    folded = shipped_wording().fold(text)
    return not folded or folded in GREETINGS


def _is_polite(text: str) -> bool:
    """Tell a reply that only says something polite back."""
    if len(text) > LONGEST_REPLY or any(character.isdigit() for character in text):
        return False
    lowered = text.lower().replace("’", "'")
    return says_nothing(text) or any(reply in lowered for reply in (*REPLIES, *GREETINGS))


def told_in(dialogue: str) -> list[tuple[str, str]]:
    """Return the turns of a spliced dialogue without system prompts, greetings and thanks."""
    return without_small_talk([turn for turn in turns_in(dialogue) if turn[0] != SYSTEM])


def sole_turn(dialogue: str) -> str | None:
    """Return the content of the only turn that says something; None where there are several."""
    turns = told_in(dialogue)
    return turns[0][1] if len(turns) == 1 else None
