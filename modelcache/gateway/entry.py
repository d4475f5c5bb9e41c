"""A completion as an entry keeps it: its text is the answer, everything else is the envelope beside it."""

from dataclasses import dataclass
from typing import Any

import orjson

from modelcache.gateway.completion import COMPLETION, NO_USAGE, STOP, Completion, text_to_keep


@dataclass(frozen=True, slots=True)
class Kept:
    """What an entry holds."""

    completion: Completion
    kept_at: float | None
    """Seconds since the epoch; None of entries that came by another way."""
    tenant: str
    model: str
    """As requests name it."""


def wrap(completion: Completion, tenant: str, model: str, now: float) -> tuple[str, str]:
    """Return text and envelope. Raises NotKeptError."""
    text = text_to_keep(completion)
    [choice] = completion["choices"]
    message = {name: value for name, value in choice["message"].items() if name != "content"}
    rest = completion | {"choices": [choice | {"message": message}]}
    return text, orjson.dumps({"kept_at": now, "tenant": tenant, "model": model, "completion": rest}).decode()


def unwrap(envelope: str, text: str, model: str) -> Kept:
    """Return what was kept, whole again. Raises ValueError for an envelope that nobody here wrote."""
    if not envelope:
        return Kept(_bare(text, model), None, "", model)
    read: Any = orjson.loads(envelope)
    completion = read["completion"]
    [choice] = completion["choices"]
    choice["message"] = {"role": "assistant", "content": text} | choice["message"]
    return Kept(completion, read["kept_at"], read["tenant"], read["model"])


def _bare(text: str, model: str) -> Completion:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": STOP}
    return {"object": COMPLETION, "model": model, "choices": [choice], "usage": dict(NO_USAGE)}
