"""What is kept of queries, as a contract; a part of the scalar store's."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from modelcache.records.log_line import LogLine


class LogStore(ABC):
    """The log of queries."""

    @abstractmethod
    def write_log(self, lines: Sequence[LogLine]) -> None:
        """Append to the query log; not to be repeated."""

    @abstractmethod
    def logged(self, model_key: str, limit: int) -> list[str]:
        """Return what a model was asked, as spliced dialogues cut as the log cuts them, the newest first."""

    @abstractmethod
    def recent(self, model_key: str | None, limit: int, *, hits: bool) -> list[LogLine]:
        """Return the latest queries, of one model or of all, that an entry answered; the newest first.

        Without ``hits`` those that none answered although one was near. Older ones than the latest few
        thousand queries are not looked at.
        """

    @abstractmethod
    def trim_log(self, before: float) -> int:
        """Delete the log rows older than ``before`` (epoch seconds) and return how many."""
