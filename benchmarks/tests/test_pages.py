"""The documents show what was measured."""

import pytest

from benchmarks import figures, report
from benchmarks.__main__ import RESULTS
from tests.support.documents import READMES, between

pytestmark = pytest.mark.packages

SPEED = "docs/speed.md"


def test_the_page_shows_the_figures_that_were_measured() -> None:
    assert between(SPEED, "bench") == report.tables(*report.load(RESULTS))


def test_the_readmes_show_some_of_these_figures() -> None:
    shown = tuple(between(readme, "figures") for readme in READMES)
    assert shown == figures.both(report.load(RESULTS)[0])
