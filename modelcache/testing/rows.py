"""Rows to put into a scalar store, with what does not matter filled in."""

from dataclasses import replace

import numpy as np

from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.records.entry import NewAnswer
from modelcache.records.log_line import LogLine
from modelcache.records.names import model_key
from modelcache.records.observation import Observation, PendingLookup

NOW = 1_700_000_000.0
FAR_FUTURE = 9_000_000_000.0
EMBEDDING = np.arange(4, dtype="<f4").tobytes()


def answer(asked: str, text: str = "an answer", model: str = "m", **more: object) -> NewAnswer:
    new = NewAnswer(
        model=model,
        model_key=model_key(model),
        partition="p" * 40,
        fingerprint=f"{model}/{asked}"[:40],
        question=asked,
        answer=text,
        embedder="hash-v1",
        embedding=EMBEDDING,
    )
    return replace(new, **more)  # type: ignore[arg-type]


def line(model: str = "m", at: float = NOW, query: str = "user###a") -> LogLine:
    return LogLine(at, 0, "", True, 0.001, model, model_key(model), query, "user###a", "b")


def seen(answer_id: int, asked: str = "asked", model: str = "m", **more: object) -> Observation:
    one = Observation(answer_id, asked, False, model_key(model), 0.97, True, NOW)
    return replace(one, **more)  # type: ignore[arg-type]


def lookup(asked: str, answer_id: int = 1, model: str = "m", at: float = NOW) -> PendingLookup:
    return PendingLookup(asked, "p" * 40, model_key(model), answer_id, 0.97, at)


def put(store: ScalarStore, *answers: NewAnswer) -> list[int]:
    """Write answers and make them live."""
    ids = store.add(answers)
    store.activate(ids, [new.fingerprint for new in answers])
    return ids
