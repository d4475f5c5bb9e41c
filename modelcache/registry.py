"""Backends by name, shipped or installed by another package, each imported when it is first used."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from modelcache.errors import ConfigError
from modelcache.packages import needs

T = TypeVar("T")


class Registry(Generic[T]):
    """Finds a backend's class by name, so that an unused driver need not be installed.

    ``targets`` maps the names of shipped backends to ``"module:class"``. Packages add theirs as entry points
    of ``group``, which must be subclasses of ``contract`` (``"module:class"``). A shipped name, an alias
    too, wins over an entry point of the same name: no package that happens to be installed can take
    the place of what the documents describe.
    """

    def __init__(
        self,
        kind: str,
        targets: Mapping[str, str],
        aliases: Sequence[str] = (),
        group: str = "",
        contract: str = "builtins:object",
    ) -> None:
        self.kind = kind
        self.targets = dict(targets)
        self.aliases = tuple(aliases)
        """Names that the caller resolves; known to the reader of an error."""
        self._group = group
        self._contract = contract

    def load(self, name: str) -> type[T]:
        """Return the class called ``name``; ConfigError if there is none or it cannot be imported."""
        if name in self.targets:
            return self._shipped(name)
        found = self._offered(name)
        if found is None:
            known = ", ".join(sorted([*self.targets, *self.aliases, *self.installed()]))
            raise ConfigError(f"unknown {self.kind} {name!r}; known are: {known}")
        return self._imported(found)

    def is_installed(self, name: str) -> bool:
        """Tell whether a package adds this name; of a shipped one, without looking at what is installed."""
        return bool(self._offers(name))

    def installed(self) -> list[str]:
        """Return the names that other packages add, sorted."""
        offered = {found.name for found in entry_points(group=self._group)} if self._group else set()
        return sorted(offered - {*self.targets, *self.aliases})

    def _shipped(self, name: str) -> type[T]:
        try:
            shipped: type[T] = _attribute(self.targets[name])
        except ModuleNotFoundError as exc:
            raise ConfigError(needs(f"{self.kind} {name!r}", exc)) from exc
        return shipped

    def _offers(self, name: str) -> list[EntryPoint]:
        # Looking reads a file of every package there is: it takes too long for what is shipped.
        if not self._group or name in self.targets or name in self.aliases:
            return []
        return list(entry_points(group=self._group, name=name))

    def _offered(self, name: str) -> EntryPoint | None:
        offers = self._offers(name)
        if len(offers) > 1:
            packages = " and ".join(sorted(found.dist.name if found.dist else "?" for found in offers))
            raise ConfigError(f"{self.kind} {name!r} is offered by several packages, {packages}: keep one")
        return offers[0] if offers else None

    def _imported(self, found: EntryPoint) -> type[T]:
        package = found.dist.name if found.dist else "?"
        what = f"{self.kind} {found.name!r} of the package {package!r}"
        try:
            loaded: Any = found.load()
        except Exception as exc:
            # Another's module may raise anything while it is imported.
            reason = str(exc).partition("\n")[0]
            raise ConfigError(
                f"{what} cannot be imported from {found.value}: {type(exc).__name__}: {reason}"
            ) from exc
        if not (isinstance(loaded, type) and issubclass(loaded, _attribute(self._contract))):
            raise ConfigError(f"{what} is no {self._contract.partition(':')[2]}: {found.value}")
        return loaded


def _attribute(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
