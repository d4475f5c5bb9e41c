"""Equal questions that are asked at the same time are asked once."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, sleep, time
from uuid import uuid4

from modelcache.errors import StoreError
from modelcache.gateway.completion import Completion
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.patience import one_request
from modelcache.records.entry import CachedAnswer
from modelcache.records.question import Question

logger = logging.getLogger(__name__)

LEASE_PREFIX = "flight:"
FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.25


@dataclass(slots=True)
class Flight:
    """A question on its way to the server behind and back."""

    question: Question
    number: int
    landed: threading.Event = field(default_factory=threading.Event)
    completion: Completion | None = None
    """The answer, if it is one that may be told to others."""
    entry_id: int | None = None


class Flights:
    """What a process has in flight; safe to use from many threads."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._numbers = count()
        self._lock = threading.Lock()

    def board(self, question: Question) -> tuple[Flight, bool]:
        """Return the flight of an equal question, or a new one, and whether it is new.

        Whoever gets a new one must ``land`` it, whatever happens.
        """
        with self._lock:
            flight = self._flights.get(question.fingerprint)
            if flight is not None:
                return flight, False
            flight = self._flights[question.fingerprint] = Flight(question, next(self._numbers))
            return flight, True

    def near(self, flight: Flight, is_near: Callable[[Question], bool]) -> Flight | None:
        """Return an earlier flight in the partition that ``is_near`` holds for; later ones wait for this."""
        with self._lock:
            others = [
                one
                for one in self._flights.values()
                if one.number < flight.number and one.question.partition == flight.question.partition
            ]
        return next((one for one in others if is_near(one.question)), None)

    def land(self, flight: Flight, completion: Completion | None = None, entry_id: int | None = None) -> None:
        """Tell those who wait how it ended; harmless when repeated."""
        with self._lock:
            if self._flights.get(flight.question.fingerprint) is flight:
                del self._flights[flight.question.fingerprint]
        if not flight.landed.is_set():
            flight.completion, flight.entry_id = completion, entry_id
            flight.landed.set()


@dataclass(slots=True)
class Ticket:
    """Who asks for others too: tells them how it ended, whatever happens."""

    flights: Flights
    flight: Flight
    shared: "StoreFlights | None" = None
    holder: str = ""
    """Of the lease that keeps other processes from asking; "" for none."""

    def landed(self, completion: Completion, entry_id: int | None) -> None:
        """Hand the answer to those who wait in this process."""
        self.flights.land(self.flight, completion, entry_id)

    def handed_over(self) -> Callable[[], None]:
        """Return what lets other processes ask, to be called once they would find the answer."""
        holder, self.holder = self.holder, ""

        def release() -> None:
            if self.shared is not None:
                self.shared.release(self.flight.question, holder)

        return release

    def over(self) -> None:
        """Let everybody ask who waits still; harmless when repeated."""
        self.flights.land(self.flight)
        self.handed_over()()


class StoreFlights:
    """Keeps other processes from asking what this one is asking, by a lease in the store they share."""

    def __init__(self, data_manager: SSDataManager, seconds: float) -> None:
        self._data_manager = data_manager
        self._seconds = seconds

    def wait(self, question: Question) -> tuple[CachedAnswer | None, str]:
        """Return the entry that another process has made meanwhile, or None once it is ours to ask.

        With it comes what to ``release``, "" for nothing. Where the store fails, or the other takes longer
        than a lease, everybody asks alone.
        """
        name, holder = LEASE_PREFIX + question.fingerprint, uuid4().hex
        deadline = monotonic() + self._seconds
        pause = FIRST_POLL_SECONDS
        try:
            while monotonic() < deadline:
                with one_request():
                    is_ours = self._data_manager.scalars.take_lease(name, holder, time(), self._seconds)
                    entry = self._data_manager.find_exact(question.fingerprint)
                if entry is not None and is_ours:
                    self.release(question, holder)
                if entry is not None or is_ours:
                    return entry, "" if entry is not None else holder
                sleep(pause)
                pause = min(2 * pause, LONGEST_POLL_SECONDS)
        except StoreError as exc:
            logger.warning("questions in flight are not shared between processes: %s", exc)
        return None, ""

    def release(self, question: Question, holder: str) -> None:
        """Let others ask; nothing is raised."""
        if not holder:
            return
        try:
            with one_request():
                self._data_manager.scalars.release_lease(LEASE_PREFIX + question.fingerprint, holder)
        except StoreError as exc:
            logger.warning("a lease is left to run out: %s", exc)
