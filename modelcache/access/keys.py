"""The keys of callers: what a file keeps of them, and how it is read and written."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, get_args

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelcache.errors import ConfigError

Role = Literal["read", "write", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
PREFIX = "mc-"
SECRET_BYTES = 32
ANY_MODEL = "*"
OWNER_ONLY = 0o600


class Key(BaseModel):
    """A key as the file keeps it: the hash, never the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256: the keys are random, so that nothing slower is needed."""
    roles: tuple[Role, ...] = Field(min_length=1)
    models: tuple[Annotated[str, Field(min_length=1)], ...] = (ANY_MODEL,)
    """Names; ``*`` stands for any characters."""
    expires_at: datetime | None = None
    requests_per_minute: int = Field(0, ge=0)
    """0: any number, as below."""
    inserts_per_minute: int = Field(0, ge=0)
    bytes_per_minute: int = Field(0, ge=0)

    def may(self, role: str, model: str) -> bool:
        """Tell whether it has the role, or is an admin's, for this model; "" is none in particular."""
        has_role = role in self.roles or "admin" in self.roles
        return has_role and (not model or any(fnmatchcase(model, pattern) for pattern in self.models))

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[Key, ...] = ()


def hashed(secret: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by their hashes; ConfigError says in one sentence what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the keys in {path}") from exc
    try:
        keys = _File.model_validate_json(text).keys
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"the keys in {path}: {place or 'the file'}: {problem['msg']}") from exc
    names = [key.name for key in keys]
    if len(set(names)) != len(names):
        raise ConfigError(f"the keys in {path}: a name is there twice")
    return {key.hash: key for key in keys}


def create_key(path: Path, name: str, roles: Sequence[str], **more: object) -> str:
    """Add a key to the file, which is made if need be, and return the key: it is kept nowhere.

    ``more`` are further fields of Key. ConfigError where the name is taken or a field is wrong.
    """
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    with _changing(path) as keys:
        if any(key.name == name for key in keys.values()):
            raise ConfigError(f"there is a key of the name {name!r} already")
        try:
            key = Key.model_validate({"name": name, "hash": hashed(secret), "roles": tuple(roles), **more})
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
            raise ConfigError(f"{problem['loc'][0]}: {problem['msg']}") from exc
        keys[key.hash] = key
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Take a key off the file; ConfigError where there is none of this name."""
    with _changing(path) as keys:
        found = [hash_ for hash_, key in keys.items() if key.name == name]
        if not found:
            raise ConfigError(f"there is no key of the name {name!r}")
        del keys[found[0]]


class _changing:  # noqa: N801 - used as a statement
    """Read the file, and put it back whole at the end of the block, one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._keys: dict[str, Key] = {}

    def __enter__(self) -> dict[str, Key]:
        try:
            self._lock.acquire()
        except OSError as exc:
            raise ConfigError(f"cannot write beside {self._path}") from exc
        try:
            self._keys = read_keys(self._path) if self._path.exists() else {}
        except BaseException:
            self._lock.release()
            raise
        return self._keys

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                _write(self._path, self._keys)
        finally:
            self._lock.release()


def _write(path: Path, keys: Mapping[str, Key]) -> None:
    kept = {"keys": [key.model_dump(mode="json", exclude_defaults=True) for key in keys.values()]}
    half = path.with_name(path.name + ".half-written")
    try:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc


def now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
