"""Keeps each model under its size: soft-deletes what is worth least when an insert goes past it."""

import logging
import threading
from collections.abc import Mapping, Sequence

from modelcache.errors import StoreError
from modelcache.manager.eviction.base import EntryKey, EvictionBook
from modelcache.manager.scalar_data.base import HitUse, ScalarStore

logger = logging.getLogger(__name__)


class EvictionManager:
    """Counts a model's entries now and then, and evicts in steps of ``clean_size``.

    Counting costs a scan of an index, so a worker counts once in ``clean_size`` inserted entries:
    with several workers a model may exceed ``max_size`` by one ``clean_size`` for each of them.
    """

    def __init__(self, scalars: ScalarStore, book: EvictionBook, max_size: int, clean_size: int) -> None:
        self._scalars = scalars
        self._book = book
        self._max_size = max_size
        self._clean_size = clean_size
        self._uncounted: dict[str, int] = {}
        self._lock = threading.Lock()

    def added(self, model_key: str, entries: Sequence[EntryKey]) -> None:
        """Note inserted entries, and evict if the model is over its size; never fails the insert."""
        try:
            self._book.add(model_key, entries)
            with self._lock:
                # The first insert of this process counts at once: it knows nothing of the others.
                uncounted = self._uncounted.get(model_key, self._clean_size) + len(entries)
                is_due = uncounted >= self._clean_size
                self._uncounted[model_key] = 0 if is_due else uncounted
            if is_due:
                self._evict(model_key)
        except StoreError:
            logger.exception("a model's size could not be checked; the next insert tries again")

    def used(self, uses: Mapping[str, Mapping[EntryKey, HitUse]]) -> None:
        """Note hits, by model key; never fails."""
        for model_key, of_model in uses.items():
            try:
                self._book.use(model_key, of_model)
            except StoreError:
                logger.exception("the use of %d entries could not be noted", len(of_model))

    def removed(self, model_key: str) -> None:
        """Note that entries of the model were removed otherwise than by eviction; never fails."""
        try:
            self._book.forget(model_key)
        except StoreError:
            logger.exception("the eviction book could not be cleared")

    def _evict(self, model_key: str) -> None:
        over = self._scalars.count(model_key) - self._max_size
        if over <= 0:
            return
        wanted = max(over, self._clean_size)
        evicted = 0
        # The book may name entries that are gone already; ask on until enough living ones went.
        while evicted < wanted:
            victims = self._book.victims(model_key, wanted - evicted)
            if not victims:
                self._book.forget(model_key)
                break
            evicted += self._scalars.delete(model_key, victims)
        logger.info("evicted %d entries of a model that was over its size", evicted)
