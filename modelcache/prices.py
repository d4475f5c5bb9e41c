"""What tokens cost, by the list prices of a package that may be installed."""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

from modelcache.records.event import Usage

PACKAGE = "genai_prices"
KNOWN_COSTS = 4096


@lru_cache(KNOWN_COSTS)
def usd(model: str, usage: Usage) -> float | None:
    """Return what so many tokens of a model cost in US dollars; None where no price is known.

    A price is looked for by the model's name. The first call reads the prices, which takes a second.
    """
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
