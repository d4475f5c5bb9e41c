"""Whether an embedder still makes the vectors that it made: a model's tag may be moved to other weights.

The embedder is asked for a fixed text, and its vector is compared with the one that the store keeps. Where it
has changed, vectors are kept under another name from then on. Rows with older ones answer equal questions
only, as those of another embedder do.
"""

import logging
import threading

from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.errors import EmbeddingError, ModelCacheError
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.scalar_data.base import Probe, ScalarStore
from modelcache.records.vectors import from_bytes, to_bytes

logger = logging.getLogger(__name__)

PROBE_TEXT = "How do I reset the password of my account? 怎么重置账户密码？"
# The same weights on another processor, or in half precision, are nearer to each other than this.
SAME = 0.999
CHECK_SECONDS = 60.0
CLOSE_SECONDS = 10.0


def name_in_use(scalars: ScalarStore, embedder: str) -> str:
    """Return the name that the embedder's vectors are kept under now; raises ScalarStoreError."""
    probe = scalars.probe(embedder)
    return _name(embedder, 0 if probe is None else probe.generation)


class DriftWatch:
    """Compares at the start and, where an embedder may change while it is in use, once a minute."""

    def __init__(
        self, gathering: GatheringEmbedder, data_manager: SSDataManager, embedder: str, *, goes_on: bool
    ) -> None:
        self._gathering = gathering
        self._data_manager = data_manager
        self._embedder = embedder
        self._goes_on = goes_on
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelcache-drift", daemon=True)

    def open(self) -> None:
        """Compare, and have the right name used from then on; raises ScalarStoreError."""
        try:
            self.check()
        except EmbeddingError:
            logger.exception("the embedder could not be compared with what it was")
            self._data_manager.use_embedder(name_in_use(self._data_manager.scalars, self._embedder))
        if self._goes_on:
            self._thread.start()

    def close(self) -> None:
        """Stop after the work that is under way; harmless when repeated."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def check(self) -> None:
        """Compare once; raises EmbeddingError and ScalarStoreError."""
        scalars = self._data_manager.scalars
        vector = self._gathering.embed([PROBE_TEXT], anew=True)[0]
        kept = scalars.probe(self._embedder)
        if kept is None:
            kept = Probe(self._embedder, 0, to_bytes(vector))
            scalars.keep_probe(kept)
        before = from_bytes(kept.embedding)
        if len(before) != len(vector) or float(before @ vector) < SAME:
            # Processes that see it at the same time write the same.
            kept = Probe(self._embedder, kept.generation + 1, to_bytes(vector))
            scalars.keep_probe(kept)
            logger.warning(
                "the embedder %s makes other vectors than before: entries with the old ones answer equal "
                "questions only, until they are inserted again",
                self._embedder,
            )
        name = _name(self._embedder, kept.generation)
        if name != self._data_manager.embedder:
            self._gathering.forget()
            self._data_manager.use_embedder(name)

    def _run(self) -> None:
        while not self._closing.wait(CHECK_SECONDS):
            try:
                self.check()
            except ModelCacheError:
                logger.exception("the embedder could not be compared with what it was")


def _name(embedder: str, generation: int) -> str:
    return f"{embedder}-changed-{generation}" if generation else embedder
