"""What differs between OpenAI's APIs for answers: how they ask, how they answer, and what may be kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelcache.gateway.chat import Chat, Form
from modelcache.gateway.completion import Completion
from modelcache.records.event import Usage

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the APIs. A ``Completion`` is the JSON object that it answers with when it does not stream."""

    path: str
    read: Callable[[Body], Chat]
    """What a request asks. Raises BypassError where the cache has no part in it."""
    form: Callable[[Body], Form]
    whole: Callable[[str, bytes], Completion]
    """The completion in a reply, by its content type, of either form. Raises NotKeptError."""
    end: bytes
    """What is in the last event of a stream, and in no other."""
    text_of: Callable[[Completion], str]
    """The answer's text. Raises NotKeptError where the answer is not whole, or not only text."""
    without_text: Callable[[Completion], Completion]
    with_text: Callable[[Completion, str], Completion]
    bare: Callable[[str, str], Completion]
    """A completion of a text and a model, of which nothing else is known."""
    anew: Callable[[Completion, Body, float], Completion]
    """The completion as the answer to another request, at a time in seconds since the epoch."""
    render: Callable[[Completion, Form], tuple[str, bytes]]
    """The content type and the body in which a completion is sent."""
    broken: Callable[[str, str], bytes]
    """The event, of a message and a code, that ends a stream which broke off."""
    usage_of: Callable[[Completion], Usage | None]
    no_usage: Mapping[str, Any]
