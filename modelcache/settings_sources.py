"""Where the values of settings come from: ini files, the environment, and files that hold a secret."""

import configparser
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelcache.errors import ConfigError

ENV_PREFIX = "MODELCACHE_"
CONFIG_VARIABLE = "MODELCACHE_CONFIG"
# Variables with the prefix that are not settings of the service.
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "MODELCACHE_BENCH_DATA", "MODELCACHE_BENCH_PEERS"})
SECTION = "modelcache"
FILE_SUFFIX = "_file"


def read_ini(path: Path, env: str | None, environments: Sequence[str]) -> dict[str, Any]:
    """Return the values of the common section, overlaid by those of the environment's own."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        raise ConfigError(f"cannot read the configuration file {path}") from exc
    known = [SECTION, *(f"{SECTION}:{name}" for name in environments)]
    unknown = [section for section in parser.sections() if section not in known]
    if unknown:
        raise ConfigError(f"{path}: unknown section [{unknown[0]}]; known are: [{'], ['.join(known)}]")
    values = dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    own = f"{SECTION}:{env or values.get('env') or environments[0]}"
    return values | (dict(parser[own]) if parser.has_section(own) else {})


def read_secrets(values: Mapping[str, Any], secrets: Collection[str]) -> dict[str, Any]:
    """Replace ``NAME_file`` of a secret by what the file holds, so that it need not be in the environment."""
    read = dict(values)
    for name in secrets:
        path = read.pop(f"{name}{FILE_SUFFIX}", "")
        if not path:
            continue
        if read.get(name):
            raise ConfigError(f"both {name} and {name}{FILE_SUFFIX} are set")
        try:
            read[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{name}{FILE_SUFFIX}: cannot read {path}") from exc
    return read


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the variables with the prefix, by the names of the settings."""
    return {
        variable.removeprefix(ENV_PREFIX).lower(): value
        for variable, value in environ.items()
        if variable.startswith(ENV_PREFIX) and variable not in OTHER_VARIABLES
    }


def check_environment(names: Collection[str], known: Collection[str], secrets: Collection[str]) -> None:
    """Raise ConfigError if one of these names, which stand in the environment, is no setting."""
    for name in names:
        if name not in known and name.removesuffix(FILE_SUFFIX) not in secrets:
            raise ConfigError(f"unknown setting {ENV_PREFIX}{name.upper()} in the environment")


def split_names(value: Any) -> Any:
    """Read ``a, b`` or, for names that hold a comma, the JSON list ``["a", "b"]``."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [name.strip() for name in value.split(",") if name.strip()]


def parse_object(value: Any) -> Any:
    """Read a JSON object of names and numbers."""
    return json.loads(value) if isinstance(value, str) else value


def compile_patterns(value: Any) -> Any:
    """Read regular expressions: one a line, or a JSON list of them."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = [line.strip() for line in value.splitlines() if line.strip()]
    if not isinstance(value, list | tuple):
        return value
    try:
        return tuple(re.compile(one) if isinstance(one, str) else one for one in value)
    except re.error as exc:
        raise ValueError(f"{exc.pattern!r} is no regular expression: {exc.msg}") from exc
