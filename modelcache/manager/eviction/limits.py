"""How many entries each model may have."""

from collections.abc import Mapping


class SizeLimits:
    """A limit for all models, and those that are set for one; 0 is none. Safe to call from many threads."""

    def __init__(self, for_all: int) -> None:
        self._for_all = for_all
        self._of_models: Mapping[str, int] = {}

    def of(self, model_key: str) -> int:
        """Return the limit of a model."""
        return self._of_models.get(model_key, self._for_all)

    def set(self, of_models: Mapping[str, int]) -> list[str]:
        """Set the limits that models have of their own, and return the keys of those whose limit changed."""
        known = {*self._of_models, *of_models}
        before = {key: self.of(key) for key in known}
        self._of_models = dict(of_models)
        return [key for key in known if self.of(key) != before[key]]
