"""What a caller asks of the cache itself, by headers and by the body's field ``cache``."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelcache.errors import FieldError
from modelcache.gateway.access import KEY_HEADER
from modelcache.gateway.messages import HttpRequest

PREFIX = "x-modelcache-"
MODES = ("semantic", "exact", "off")
MAX_NAME_CHARS = 256
MAX_NAMES = 32


class ControlError(FieldError):
    """A wish that is not understood; ``param`` names the header or the field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param


@dataclass(frozen=True, slots=True)
class Control:
    """What a caller asks of the cache."""

    no_cache: bool = False
    """Do not answer from the cache; keep what the server behind answers."""
    no_store: bool = False
    """Do not keep the answer."""
    only_if_cached: bool = False
    """Do not ask the server behind."""
    max_age: float | None = None
    """Seconds since which an entry may have been kept."""
    ttl: float | None = None
    """Seconds for which the answer is kept."""
    namespace: str = ""
    """Parts the caller's entries further."""
    threshold: float | None = None
    mode: str = "semantic"
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """What the answer is made from, such as the documents in the messages."""


def read_control(request: HttpRequest, fields: object) -> Control:
    """Read the headers, then ``fields``, the body's ``cache``, over them. Raises ControlError."""
    control = Control()
    if directives := request.header("cache-control"):
        control = _read_directives(control, directives)
    for name, value in request.headers:
        if name.startswith(PREFIX) and name != KEY_HEADER:
            control = _read_header(control, name, value.strip())
    if fields is not None:
        control = _read_fields(control, fields)
    return control


def _read_directives(control: Control, directives: str) -> Control:
    for directive in filter(None, (one.strip() for one in directives.split(","))):
        name, _, value = directive.partition("=")
        where = "cache-control"
        match name.strip().lower(), value.strip().strip('"'):
            case "no-cache", "":
                control = replace(control, no_cache=True)
            case "no-store", "":
                control = replace(control, no_store=True)
            case "only-if-cached", "":
                control = replace(control, only_if_cached=True)
            case "max-age", seconds:
                control = replace(control, max_age=_number(where, seconds, least=0))
            case _:
                raise ControlError(
                    where, "expected no-cache, no-store, only-if-cached or max-age=SECONDS, not " + name
                )
    return control


def _read_header(control: Control, name: str, value: str) -> Control:
    reader = _HEADERS.get(name.removeprefix(PREFIX))
    if reader is None:
        known = ", ".join(PREFIX + one for one in _HEADERS)
        raise ControlError(name, f"is not known; known are: {known}")
    return reader(control, name, value)


def _read_fields(control: Control, fields: object) -> Control:
    if not isinstance(fields, Mapping):
        raise ControlError("cache", 'expected an object such as {"no-store": true}')
    for name, value in fields.items():
        reader = _FIELDS.get(name)
        if reader is None:
            raise ControlError(f"cache.{name}", f"is not known; known are: {', '.join(_FIELDS)}")
        control = reader(control, f"cache.{name}", value)
    return control


def _number(where: str, value: Any, least: float, most: float = math.inf) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= most or math.isinf(number):
        upper = "" if math.isinf(most) else f" to {most:g}"
        raise ControlError(where, f"expected a number from {least:g}{upper}")
    return number


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ControlError(where, "expected true or false")
    return value


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        raise ControlError(where, f"expected a non-empty string of up to {MAX_NAME_CHARS} characters")
    return value


def _ttl(control: Control, where: str, value: Any) -> Control:
    seconds = _number(where, value, least=0)
    if seconds == 0:
        raise ControlError(where, "expected a number of seconds over 0")
    return replace(control, ttl=seconds)


def _max_age(control: Control, where: str, value: Any) -> Control:
    return replace(control, max_age=_number(where, value, least=0))


def _namespace(control: Control, where: str, value: Any) -> Control:
    return replace(control, namespace=_name(where, value))


def _threshold(control: Control, where: str, value: Any) -> Control:
    return replace(control, threshold=_number(where, value, 0, 1))


def _mode(control: Control, where: str, value: Any) -> Control:
    if value not in MODES:
        raise ControlError(where, f"expected one of {', '.join(MODES)}")
    return replace(control, mode=value)


def _tags(control: Control, where: str, value: Any) -> Control:
    return replace(control, tags=_names(where, value))


def _sources(control: Control, where: str, value: Any) -> Control:
    return replace(control, sources=_names(where, value))


def _names(where: str, value: Any) -> tuple[str, ...]:
    names = tuple(_name(where, name.strip()) for name in str(value).split(","))
    if len(names) > MAX_NAMES:
        raise ControlError(where, f"expected at most {MAX_NAMES} of them, separated by commas")
    return names


def _no_cache(control: Control, where: str, value: Any) -> Control:
    return replace(control, no_cache=_flag(where, value))


def _no_store(control: Control, where: str, value: Any) -> Control:
    return replace(control, no_store=_flag(where, value))


def _use_cache(control: Control, where: str, value: Any) -> Control:
    return control if _flag(where, value) else replace(control, mode="off")


_Reader = Callable[[Control, str, Any], Control]
_HEADERS: Mapping[str, _Reader] = {
    "namespace": _namespace,
    "ttl": _ttl,
    "threshold": _threshold,
    "mode": _mode,
    "tags": _tags,
    "sources": _sources,
}
# LiteLLM's spelling.
_FIELDS: Mapping[str, _Reader] = {
    "no-cache": _no_cache,
    "no-store": _no_store,
    "ttl": _ttl,
    "s-maxage": _max_age,
    "s-max-age": _max_age,
    "namespace": _namespace,
    "use-cache": _use_cache,
}
