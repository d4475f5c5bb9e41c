"""Embeds the texts of concurrent requests together, equal ones once, and recent ones not again."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from cachetools import LRUCache

from modelcache.embedding.base import Embedder, Embeddings

# What a remembered text takes beside its vector: a hash, an array's header, the slots of two dicts.
ENTRY_BYTES = 400
HASH_BYTES = 16


class _Waiting:
    """One call of ``embed`` that waits until none of its texts is missing, or until it is to lead."""

    def __init__(self) -> None:
        self.missing = 0
        self.leads = False
        self.wakes = threading.Event()


@dataclass(slots=True)
class _Text:
    """One text on its way through the engine; ``done`` with a vector or an error."""

    text: str
    waiting: list[_Waiting] = field(default_factory=list)
    vector: Embeddings | None = None
    error: Exception | None = None


class GatheringEmbedder:
    """Stands in front of an embedder, which is called with few batches at a time.

    Nobody waits for company: while fewer than its ``parallel`` batches are under way, whoever
    comes takes what is queued and leads the next one. A single text, a query's, goes before the texts
    of a large request, which keep half of the room in each batch.
    """

    def __init__(self, engine: Embedder, memory_bytes: int = 0) -> None:
        """Take an engine that is open; ``memory_bytes`` bounds what is remembered."""
        self._engine = engine
        entries = memory_bytes // (4 * engine.dimension + ENTRY_BYTES)
        self._memory: LRUCache[bytes, Embeddings] = LRUCache(entries)
        self._lock = threading.Lock()
        self._single: deque[_Text] = deque()
        self._bulk: deque[_Text] = deque()
        self._on_its_way: dict[str, _Text] = {}
        self._leaders = 0

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text, float32 (len(texts), dimension). Raises what the engine does."""
        own = _Waiting()
        keys = {text: _key(text) for text in texts}
        with self._lock:
            known = {text: self._memory[key] for text, key in keys.items() if key in self._memory}
            needed = {text: self._await(text, own) for text in keys if text not in known}
            new = [text for text in needed.values() if len(text.waiting) == 1]
            (self._single if len(new) == 1 else self._bulk).extend(new)
            if new and self._leaders < self._engine.parallel:
                self._leaders += 1
                own.leads = True
        if needed:
            self._see_through(own)
        vectors = known | {text: _outcome(way) for text, way in needed.items()}
        if not texts:
            return np.empty((0, self._engine.dimension), np.float32)
        return np.stack([vectors[text] for text in texts])

    def _await(self, text: str, own: _Waiting) -> _Text:
        """Join the text's way through the engine, or begin one; called under the lock."""
        way = self._on_its_way.setdefault(text, _Text(text))
        way.waiting.append(own)
        own.missing += 1
        return way

    def _see_through(self, own: _Waiting) -> None:
        """Lead when it is this call's turn, and otherwise wait, until nothing of it is missing."""
        while True:
            if own.leads:
                self._lead(own)
            if not own.missing:
                return
            own.wakes.wait()
            own.wakes.clear()

    def _lead(self, own: _Waiting) -> None:
        """Run batches until this call's own texts are done; then another call leads, or none."""
        while True:
            with self._lock:
                if not own.missing:
                    own.leads = False
                    self._pass_on()
                    return
                batch = list(self._take())
                if not batch:
                    # Its own texts are in a batch that another call leads.
                    own.leads = False
                    self._leaders -= 1
                    return
            self._run(batch)

    def _pass_on(self) -> None:
        """Have a call that waits for a queued text lead on; called under the lock."""
        for way in chain(self._single, self._bulk):
            for waiting in way.waiting:
                if not waiting.leads:
                    waiting.leads = True
                    waiting.wakes.set()
                    return
        self._leaders -= 1

    def _take(self) -> Iterator[_Text]:
        """Take the next batch off the queues; called under the lock."""
        room, chars = self._engine.batch_texts, self._engine.batch_chars
        for queue, least in ((self._single, min(len(self._bulk), room // 2)), (self._bulk, 0)):
            while queue and room > least and (chars > 0 or room == self._engine.batch_texts):
                way = queue.popleft()
                room -= 1
                chars -= len(way.text)
                yield way

    def _run(self, batch: Sequence[_Text]) -> None:
        """Embed a batch and wake whoever waited for the last of its texts."""
        error = None
        vectors: Sequence[Embeddings | None] = [None] * len(batch)
        try:
            vectors = list(self._engine.embed([way.text for way in batch]))
        except Exception as exc:  # noqa: BLE001 - others wait for this batch; each raises it for itself
            error = exc
        with self._lock:
            for way, vector in zip(batch, vectors, strict=True):
                way.error = error
                if vector is not None:
                    # Its own copy: a row would keep the whole batch in memory.
                    way.vector = vector.copy()
                    if self._memory.maxsize:
                        self._memory[_key(way.text)] = way.vector
                del self._on_its_way[way.text]
                for waiting in way.waiting:
                    waiting.missing -= 1
                    if not waiting.missing:
                        waiting.wakes.set()


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def _outcome(way: _Text) -> Embeddings:
    """Return the vector, or raise why there is none."""
    if way.error is not None:
        raise way.error
    assert way.vector is not None
    return way.vector
