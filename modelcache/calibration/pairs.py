"""Labelled questions as the calibration takes them: by the texts of their last turns."""

from dataclasses import dataclass
from pathlib import Path

from modelcache.evaluation import pairs


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """``same``: the answer to the cached question answers the asked one too."""

    cached: str
    asked: str
    same: bool


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read what ``evaluate`` takes, as far as texts alone are compared; ConfigError names a wrong line."""
    found = []
    for pair in pairs.read_pairs(path):
        cached, asked = pair.cached[-1]["content"], pair.asked[-1]["content"]
        # What was said before is judged by other rules, and equal texts are not judged at all.
        alone = len(pair.cached) == len(pair.asked) == 1
        if alone and isinstance(cached, str) and isinstance(asked, str) and cached.strip() != asked.strip():
            found.append(LabelledPair(cached.strip(), asked.strip(), pair.same))
    return found
