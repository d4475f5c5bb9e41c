"""Ask the service itself, on empty stores of its own, and learn what it does at every threshold."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from modelcache.adapter import adapter
from modelcache.core import Cache, Service
from modelcache.embedding.base import Embedder
from modelcache.errors import ModelCacheError
from modelcache.evaluation.pairs import Dialogue
from modelcache.settings import Settings

Json = dict[str, Any]

BATCH = 200
# Replies round a confidence to six digits: a threshold so much higher is over it.
OVER = 1e-6
# A text is embedded once, however often it is asked.
REMEMBERED_MB = 256
# What is measured is the decision, on stores that need no server and forget nothing.
STORES = {
    "scalar_store": "sqlite",
    "vector_store": "faiss",
    "eviction_book": "memory",
    "max_size": 0,
    "mode": "serve",
    "model_blacklist": (),
    "query_log": False,
    "embedding_memory_mb": REMEMBERED_MB,
}


@dataclass(frozen=True, slots=True)
class Step:
    """The entry that answers up to this threshold, from the one before on."""

    threshold: float
    entry: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a question finds at every threshold."""

    steps: tuple[Step, ...]
    """Rising; over the last one nothing answers."""
    default: int | None
    """The entry that answers when no threshold is asked for."""
    confidence: float | None
    """Of the entry that answers then, or of the nearest."""
    veto: str = ""
    exact: bool = False
    """An equal question answers, whatever the threshold."""

    def at(self, threshold: float | None) -> int | None:
        """Return the entry that answers at a threshold, None: nothing does; ``None``: at the default."""
        if threshold is None:
            return self.default
        return next((step.entry for step in self.steps if step.threshold >= threshold), None)

    def surest(self, entry: int | None) -> float:
        """Return the highest threshold at which an entry answers, 0 if it never does."""
        return max((step.threshold for step in self.steps if step.entry == entry), default=0.0)


class Asker:
    """Speaks to a service as its clients do, without the network between; many threads may."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def cache(self) -> Cache:
        return self._service.cache

    def insert(self, model: str, dialogues: Sequence[Dialogue]) -> list[int]:
        """Store an entry for each in one cache; returns their ids."""
        ids: list[int] = []
        for start in tqdm(range(0, len(dialogues), BATCH), desc="storing", leave=False, disable=None):
            part = dialogues[start : start + BATCH]
            ids += self._insert({"model": model}, part, start)
        return ids

    def together(self, model: str, dialogues: Sequence[Dialogue]) -> list[Found]:
        """Ask a cache that was filled before, each question by itself."""
        return self._each([lambda one=one: self._find({"model": model}, one) for one in dialogues])

    def alone(self, model: str, pairs: Sequence[tuple[Dialogue, Dialogue]]) -> list[Found]:
        """Ask each pair's second question of a cache that holds its first only; its entry is number 0."""

        def ask(number: int) -> Found:
            # A key of its own is a partition of its own: no question sees another's entry.
            scope = {"model": model, "pair": number}
            cached, asked = pairs[number]
            [id_] = self._insert(scope, [cached])
            return numbered(self._find(scope, asked, most=1), {id_: 0})

        return self._each([lambda number=number: ask(number) for number in range(len(pairs))])

    def _each(self, calls: Sequence[Any]) -> list[Found]:
        with ThreadPoolExecutor(self.cache.embedder.parallel) as pool:
            found = pool.map(lambda call: call(), calls)
            return list(tqdm(found, total=len(calls), desc="asking", leave=False, disable=None))

    def _find(self, scope: Json, dialogue: Dialogue, most: int | None = None) -> Found:
        """Ask by default and then, from 0 on, at thresholds just over the confidence of what answered.

        What answers at a threshold is what answers at any other up to its confidence, so that few questions
        tell about all. ``most``: how many entries there are to answer.
        """
        body = {"type": "query", "scope": scope, "query": dialogue}
        default = self.post(body)
        if default["hit_type"] == "exact":
            return Found((Step(1.0, default["hit_id"]),), default["hit_id"], 1.0, exact=True)
        steps: list[Step] = []
        threshold = 0.0
        while threshold <= 1.0 and (most is None or len(steps) < most):
            reply = self.post(body | {"threshold": threshold})
            if not reply["cacheHit"] or (steps and reply["confidence"] < threshold):
                break
            steps.append(Step(reply["confidence"], reply["hit_id"]))
            threshold = reply["confidence"] + OVER
        return Found(tuple(steps), default["hit_id"], default["confidence"], default["veto"])

    def _insert(self, scope: Json, dialogues: Iterable[Dialogue], start: int = 0) -> list[int]:
        # Each with an answer of its own: entries that answer alike do not make each other doubtful.
        chat_info = [
            {"query": dialogue, "answer": f"answer {number}"}
            for number, dialogue in enumerate(dialogues, start)
        ]
        ids: list[int] = self.post({"type": "insert", "scope": scope, "chat_info": chat_info})["ids"]
        return ids

    def post(self, body: Json) -> Json:
        reply, *_ = adapter.handle(self._service, json.dumps(body).encode())
        if reply["errorCode"]:
            raise ModelCacheError(f"the service replied: {reply['errorDesc']}")
        return reply


def numbered(found: Found, places: Mapping[int, int]) -> Found:
    """Return what was found by numbers of one's own in place of ids."""
    return Found(
        tuple(Step(step.threshold, places[step.entry]) for step in found.steps),
        None if found.default is None else places[found.default],
        found.confidence,
        found.veto,
        found.exact,
    )


@contextmanager
def opened(settings: Settings, embedder: Embedder | None = None) -> Iterator[Asker]:
    """Open the service with these settings on empty stores of its own until the end of the block."""
    with TemporaryDirectory(prefix="modelcache-evaluate-") as folder:
        own = settings.model_copy(update=STORES | {"data_dir": Path(folder)})
        service = Service(own, embedder)
        service.open()
        try:
            yield Asker(service)
        finally:
            service.close()
