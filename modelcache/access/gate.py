"""Lets callers in by their keys, and says what each may do."""

import hmac
import logging
import os
import threading
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

from modelcache.access.keys import Key, hashed, now, read_keys
from modelcache.access.quota import Quota, retry_after
from modelcache.errors import ConfigError, ForbiddenError, TooManyError, UnauthorizedError
from modelcache.settings import Settings

logger = logging.getLogger(__name__)
audit = logging.getLogger("modelcache.audit")

# What changes in the file is known to every process after this long.
LOOK_SECONDS = 0.5
SCHEME = "bearer"
READ, WRITE, ADMIN = "read", "write", "admin"


class Caller:
    """Who asks: a key's holder or, without keys, anybody."""

    def __init__(self, key: Key | None, quotas: "dict[str, Quota]") -> None:
        self._key = key
        self._quotas = quotas

    @property
    def name(self) -> str:
        """The key's name, "" for anybody."""
        return "" if self._key is None else self._key.name

    def may(self, role: str, model: str) -> bool:
        """Tell whether the caller has this role for this model."""
        return self._key is None or self._key.may(role, model)

    def allow(self, role: str, model: str = "") -> None:
        """Return if the caller has this role, for this model where one is named: ForbiddenError otherwise."""
        if self._key is not None and not self._key.may(role, model):
            raise ForbiddenError(f"this key may not {role}" + (" for this model" if model else ""))

    def permit(self, role: str, model: str, *, size: int = 0, inserts: int = 0) -> None:
        """Return if the caller may do this now; ``size`` is the body's, in bytes.

        Raises ForbiddenError, or TooManyError where a minute's share is used up.
        """
        if self._key is None:
            return
        self.allow(role, model)
        for name, amount in (("requests", 1), ("inserts", inserts), ("bytes", size)):
            quota = self._quotas.get(name)
            if quota is not None and amount and (wait := quota.take(amount)):
                raise TooManyError(f"this key has used up its {name} of a minute", retry_after(wait))


ANYBODY = Caller(None, {})


class Gate:
    """Knows the keys in a file, and sees when it changes; safe to call from many threads."""

    def __init__(self, path: Path | None, processes: int = 1) -> None:
        """Without a path anybody may do anything. ``processes`` share what a key may ask in a minute."""
        self._path = path
        self._processes = processes
        self._keys: dict[str, Key] = {}
        self._quotas: dict[Key, dict[str, Quota]] = {}
        self._stamp: tuple[int, ...] = ()
        self._next_look = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask."""
        return self._path is None

    def open(self) -> None:
        """Read the keys; ConfigError says in one sentence why they cannot be."""
        if self._path is not None:
            self._read(self._path)
            self._next_look = monotonic() + LOOK_SECONDS

    def admit(self, authorization: str) -> Caller:
        """Return who sends this ``Authorization``; UnauthorizedError where it is no key that is valid."""
        if self._path is None:
            return ANYBODY
        if monotonic() >= self._next_look:
            self._look(self._path)
        scheme, _, secret = authorization.strip().partition(" ")
        if scheme.lower() != SCHEME or not secret.strip():
            raise UnauthorizedError("a key is wanted, as: Authorization: Bearer …")
        hash_ = hashed(secret.strip())
        key = self._keys.get(hash_)
        # Looked up by its hash: how long that takes tells nothing of a key. Compared all the same, once more.
        if key is None or not hmac.compare_digest(key.hash, hash_) or key.is_expired(now()):
            raise UnauthorizedError("this key is not valid")
        return Caller(key, self._quotas[key])

    def _look(self, path: Path) -> None:
        """Read the file again if it has changed; one that cannot be read changes nothing."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = monotonic() + LOOK_SECONDS
            if _stamp(path) != self._stamp:
                self._read(path)
        except ConfigError as exc:
            logger.error("%s: the keys known before stay valid", exc)
        finally:
            self._lock.release()

    def _read(self, path: Path) -> None:
        stamp = _stamp(path)
        if stamp == self._stamp:
            return
        # Noted first, so that a file that is wrong is told of once.
        self._stamp = stamp
        keys = read_keys(path)
        # A key that is as it was keeps what it has used of its minute.
        self._quotas = {key: self._quotas.get(key) or self._quotas_of(key) for key in keys.values()}
        self._keys = keys
        logger.info("%d keys are valid", len(keys))

    def _quotas_of(self, key: Key) -> dict[str, Quota]:
        limits = {
            "requests": key.requests_per_minute,
            "inserts": key.inserts_per_minute,
            "bytes": key.bytes_per_minute,
        }
        return {name: Quota(limit / self._processes) for name, limit in limits.items() if limit}


def check_door(settings: Settings) -> None:
    """Raise ConfigError where the service would listen to other machines, and let anybody in, unasked."""
    if settings.keys_file is None and not settings.allow_anonymous and not is_loopback(settings.host):
        raise ConfigError(
            f"on {settings.host} anybody could read and remove everything: set MODELCACHE_KEYS_FILE, or "
            "MODELCACHE_ALLOW_ANONYMOUS=true if only the gateway reaches the port"
        )


def is_loopback(host: str) -> bool:
    """Tell an address that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when the file does; () where it is not there."""
    try:
        seen = os.stat(path)
    except OSError:
        return (0,)
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino)
