"""Settings that a backend of another package brings along.

Its class names a frozen dataclass as ``own_settings``; a field may have a ``help`` in its metadata. The field
``url`` of a backend called ``memo`` is read as the service's own settings are: from ``MODELCACHE_MEMO_URL``
in the environment, or as ``memo_url`` from the section of an ini file. ``python -m modelcache.own_settings``
prints those of all backends that are installed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import SecretStr, TypeAdapter, ValidationError

from modelcache.backends import NAMED_BY
from modelcache.errors import ConfigError
from modelcache.settings_sources import ENV_PREFIX


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """What one backend declares."""

    backend: str
    """As it is called in an error: ``vector store 'memo'``."""
    prefix: str
    shape: type[Any]

    @property
    def names(self) -> frozenset[str]:
        """The names of these settings, each with the prefix."""
        return frozenset(self.prefix + field.name for field in fields(self.shape))

    @property
    def secrets(self) -> frozenset[str]:
        """Those that are never shown and may be read from a file."""
        types = get_type_hints(self.shape)
        return frozenset(
            self.prefix + field.name for field in fields(self.shape) if types[field.name] is SecretStr
        )

    def read(self, values: Mapping[str, Any]) -> Any:
        """Build the dataclass from the values with these names; ConfigError tells of a bad one."""
        given = {name.removeprefix(self.prefix): values[name] for name in self.names & set(values)}
        try:
            return TypeAdapter(self.shape).validate_python(given)
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_context=False)[0]
            name = self.prefix + str(problem["loc"][0])
            is_told = name in given and name not in self.secrets
            shown = f", not {problem['input']!r}" if is_told else ""
            raise ConfigError(f"setting {name!r}: {problem['msg']}{shown}") from exc

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Yield environment variable, default and help of each."""
        for field in fields(self.shape):
            variable = ENV_PREFIX + (self.prefix + field.name).upper()
            yield variable, _shown_default(field), str(field.metadata.get("help", ""))


def own_settings_of(values: Mapping[str, Any], taken: Collection[str]) -> list[OwnSettings]:
    """Return what the chosen backends declare; ConfigError where a name is one of those ``taken``."""
    found = []
    for setting, registry in NAMED_BY.items():
        name = values.get(setting)
        if isinstance(name, str) and registry.is_installed(name) and (own := _declared(setting, name)):
            if clash := sorted(own.names & set(taken)):
                raise ConfigError(f"{own.backend} declares the setting {clash[0]!r}, which is not its own")
            found.append(own)
    return found


def _declared(setting: str, name: str) -> OwnSettings | None:
    registry = NAMED_BY[setting]
    shape = registry.load(name).own_settings
    if shape is None:
        return None
    backend = f"{registry.kind} {name!r}"
    if not (isinstance(shape, type) and is_dataclass(shape)):
        raise ConfigError(f"{backend} declares settings that are no dataclass")
    return OwnSettings(backend, name.lower().replace("-", "_").replace(".", "_") + "_", shape)


def _shown_default(field: "Field[Any]") -> str:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return "" if default in (MISSING, None) else str(default)


def main() -> None:
    """Print the settings of every installed backend as a Markdown table."""
    print("| backend | variable | default | meaning |\n| --- | --- | --- | --- |")
    for setting, registry in NAMED_BY.items():
        for name in registry.installed():
            own = _declared(setting, name)
            for variable, default, meaning in own.table() if own else ():
                shown = f"`{default}`" if default else ""
                print(f"| {registry.kind} `{name}` | `{variable}` | {shown} | {meaning} |")


if __name__ == "__main__":
    main()
