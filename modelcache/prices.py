"""What tokens cost: by a file of the operator's own, and by the list prices of a package, if it is there."""

import math
import tomllib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from modelcache.errors import ConfigError
from modelcache.records.event import Usage
from modelcache.settings import Settings

PACKAGE = "genai_prices"
KNOWN_COSTS = 4096
MILLION = 1e6
FIELDS = ("input", "output")
HOW = 'expected tables such as ["gpt-4o-mini"] with input and output, in US dollars a million tokens'


class Prices:
    """Prices of models by their names; safe to use from many threads."""

    def __init__(self, own: Mapping[str, tuple[float, float]] | None = None) -> None:
        """``own`` are the prices of a token asked and of one said, in US dollars."""
        self._own = own or {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "Prices":
        """Read the operator's file, where there is one. Raises ConfigError."""
        return cls(None if settings.prices_file is None else read_prices(settings.prices_file))

    def usd(self, model: str, usage: Usage) -> float | None:
        """Return what so many tokens of a model cost in US dollars; None where no price is known."""
        own = self._own.get(model)
        if own is not None:
            return own[0] * usage.prompt + own[1] * usage.completion
        return _listed(model, usage)


def read_prices(path: Path) -> dict[str, tuple[float, float]]:
    """Return the prices of a token, asked and said, by model. Raises ConfigError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"prices_file: {path} cannot be read: {exc}") from exc
    return {model: _price(path, model, table) for model, table in tables.items()}


def _price(path: Path, model: str, table: Any) -> tuple[float, float]:
    if not isinstance(table, dict) or set(table) != set(FIELDS) or not all(map(_is_price, table.values())):
        raise ConfigError(f"prices_file: {path}, {model!r}: {HOW}")
    return table["input"] / MILLION, table["output"] / MILLION


def _is_price(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


@lru_cache(KNOWN_COSTS)
def _listed(model: str, usage: Usage) -> float | None:
    """Return the same by list prices. The first call reads them, which takes a second."""
    price = _calculator()
    if price is None or not model:
        return None
    try:
        return price(model, usage)
    except LookupError:
        return None


@cache
def _calculator() -> Callable[[str, Usage], float] | None:
    try:
        prices: Any = import_module(PACKAGE)
    except ModuleNotFoundError:
        return None

    def price(model: str, usage: Usage) -> float:
        tokens = prices.Usage(input_tokens=usage.prompt, output_tokens=usage.completion)
        return float(prices.calc_price(tokens, model_ref=model).total_price)

    return price
