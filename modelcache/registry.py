"""Backends by name: a table of import paths, each imported when it is first used."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from modelcache.errors import ConfigError
from modelcache.packages import needs


class Registry:
    """Maps a backend's name to ``"module:class"``, so that an unused driver need not be installed."""

    def __init__(self, kind: str, targets: Mapping[str, str], aliases: Sequence[str] = ()) -> None:
        self.kind = kind
        self.targets = dict(targets)
        self.aliases = tuple(aliases)
        """Names that the caller resolves; known to the reader of an error."""

    def load(self, name: str) -> Any:
        """Return the class registered as ``name``; ConfigError if there is none or its driver is absent."""
        if name not in self.targets:
            known = ", ".join(sorted([*self.targets, *self.aliases]))
            raise ConfigError(f"unknown {self.kind} {name!r}; known are: {known}")
        module, _, attribute = self.targets[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as exc:
            raise ConfigError(needs(f"{self.kind} {name!r}", exc)) from exc
