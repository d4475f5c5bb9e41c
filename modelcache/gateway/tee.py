"""A stream on its way to the caller, which is read along to be kept once it is whole."""

from collections.abc import Callable, Generator, Iterator

from modelcache.gateway.dialect import Dialect
from modelcache.gateway.upstream import Sent, UpstreamError

# A longer answer is passed on and not kept.
MOST_BYTES = 8 * 2**20
# An event that is longer is passed on in parts.
MOST_HELD_BYTES = 65_536


class Tee:
    """Gives the stream's bytes in whole events, the last one once the answer is kept.

    ``whole`` is called with all bytes when the stream ended well, ``over`` in any case, last and once. What
    breaks off ends with an event that says so. ``close`` is for a caller that goes away: the rest is read
    all the same if ``finishes``.
    """

    def __init__(
        self,
        sent: Sent,
        dialect: Dialect,
        whole: Callable[[bytes], None],
        over: Callable[[], None],
        *,
        finishes: bool,
    ) -> None:
        self._sent = sent
        self._dialect = dialect
        self._whole = whole
        self._over = over
        self._finishes = finishes
        self._is_over = False
        self._read: list[bytes] = []
        self._size = 0
        self._source = self._parts()
        self._given = self._events()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._given)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Finish or cut what is left, and release the connection; harmless when repeated."""
        if self._is_over:
            return
        try:
            if self._finishes:
                for _ in self._source:
                    pass
                self._tell_whole()
        except UpstreamError:
            pass
        finally:
            self._end()
            # They hold this, and what was read.
            self._given.close()
            self._source.close()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._sent.close()
            self._over()

    def _parts(self) -> Generator[bytes, None, None]:
        for part in self._sent.parts():
            self._size += len(part)
            if self._size <= MOST_BYTES:
                self._read.append(part)
            yield part

    def _tell_whole(self) -> None:
        if self._size <= MOST_BYTES:
            self._whole(b"".join(self._read))

    def _events(self) -> Generator[bytes, None, None]:
        begun = b""
        try:
            for part in self._source:
                begun += part
                end = _end_of_events(begun)
                if end == 0 and len(begun) > MOST_HELD_BYTES:
                    end = len(begun)
                # What says that it is the end waits until the question can be asked again.
                if end and self._dialect.end not in begun:
                    yield begun[:end]
                    begun = begun[end:]
        except UpstreamError as exc:
            yield self._dialect.broken(str(exc), exc.code_name)
            return
        self._tell_whole()
        if begun:
            yield begun


def _end_of_events(data: bytes) -> int:
    """Return how many bytes are whole events."""
    ends = (data.rfind(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n") if mark in data)
    return max(ends, default=0)
