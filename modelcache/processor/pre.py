"""From messages to a question: what must be equal, what is compared by meaning, what is shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelcache.hashing import digest
from modelcache.language.small_talk import telling_places
from modelcache.processor.canonical import canonical, canonical_messages
from modelcache.records.dialogue import SPOKEN_ROLES, SYSTEM, USER, Message, normalise, splice
from modelcache.records.names import model_key
from modelcache.records.question import Question, ScopeValue
from modelcache.settings import Settings

# A row keeps an embedding for each of so many earlier turns at most.
CONTEXT_TURNS = 8


def make_question(
    model: str, scope: Mapping[str, ScopeValue], messages: Sequence[Message], settings: Settings
) -> Question:
    """Prepare a dialogue that has at least one message besides system ones.

    Under the default settings the partition is model, scope, system prompt, the roles of the turns
    before the last and what tools said; the text is the last turn. Greetings and thanks count for nothing,
    and so do ids and fields that ``canonical`` lists. ``scope`` holds JSON values.
    ``conversation = exact`` has all of the earlier turns in the partition.
    ``system_prompt = splice`` and ``conversation = splice`` move the system prompt and the earlier
    turns into the text.
    """
    messages = canonical_messages(messages)
    keys = canonical(scope)
    by_meaning = settings.conversation == "meaning"
    said = [message for message in messages if message.role != SYSTEM]
    turns = _telling(said) if by_meaning else said
    *earlier, last = turns
    places = embedded_places([(turn.role, turn.content) for turn in turns], settings) if by_meaning else ()
    compared, equal, system = _sorted_out(messages, turns, settings)
    only_said = all(turn.role in SPOKEN_ROLES and not turn.extra for turn in earlier)

    def partition(of: list[object]) -> str:
        return digest("partition", model, keys, of, last.role, last.extra)

    return Question(
        model=model,
        model_key=model_key(model),
        partition=partition(equal),
        fingerprint=digest("question", model, keys, [_identity(message, settings) for message in messages]),
        text=last.content.strip() if compared == [last] else splice(compared),
        dialogue=splice(messages),
        messages=tuple(messages),
        turns=tuple((turn.role, turn.content) for turn in turns) if compared == [last] else (),
        context_places=places,
        in_conversation=bool(by_meaning and earlier),
        without_context=partition(system) if by_meaning and earlier and only_said else "",
        is_comparable=last.role == USER,
    )


def _sorted_out(
    messages: Sequence[Message], turns: Sequence[Message], settings: Settings
) -> tuple[list[Message], list[object], list[object]]:
    """Return which messages are the text, what must be equal of the others, and that of system ones."""
    by_meaning = settings.conversation == "meaning"
    equal: list[object] = []
    system: list[object] = []
    compared: list[Message] = []
    for message in messages:
        if message is turns[-1] or _is_spliced(message, settings):
            compared.append(message)
        elif by_meaning and message.role in SPOKEN_ROLES:
            # What it says is compared when the entry is judged.
            if any(message is turn for turn in turns):
                equal.append((message.role, message.extra))
        else:
            equal.append(_identity(message, settings))
            if message.role == SYSTEM:
                system.append(equal[-1])
    return compared, equal, system


def _is_spliced(message: Message, settings: Settings) -> bool:
    """Tell whether a message before the last turn is part of the text."""
    if message.role == SYSTEM:
        return settings.system_prompt == "splice"
    return settings.conversation == "splice"


def embedded_places(turns: Sequence[tuple[str, str]], settings: Settings) -> tuple[int, ...]:
    """Return which turns before the last are embedded: the latest short ones, as far as there is room."""
    room = settings.context_chars
    places: list[int] = []
    for place in reversed(range(len(turns) - 1)):
        role, content = turns[place]
        length = len(content.strip())
        if role in SPOKEN_ROLES and 0 < length <= min(room, settings.long_text_chars):
            places.append(place)
            room -= length
            if len(places) == CONTEXT_TURNS:
                break
    return tuple(reversed(places))


def _telling(said: Sequence[Message]) -> list[Message]:
    """Leave out greetings, thanks and what is said back to them; a turn with more than text is kept."""
    turns = [("" if message.extra else message.role, message.content) for message in said]
    return [said[place] for place in telling_places(turns)]


def _identity(message: Message, settings: Settings) -> tuple[str, str, Mapping[str, Any]]:
    content = message.content
    if message.role == SYSTEM:
        for ignored in settings.system_prompt_ignore:
            content = ignored.sub("", content)
    return message.role, normalise(content), message.extra
