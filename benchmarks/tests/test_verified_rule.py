"""The published rule that verified mode is measured beside."""

from benchmarks import verified as bench


def test_the_published_rule_explores_until_it_has_six_observations() -> None:
    assert bench.explore_share(0.999, [(0.999, True)] * 5, 0.02) == 1.0
    often = bench.explore_share(0.999, [(0.999, True)] * 6, 0.02)
    assert 0 < bench.explore_share(0.999, [(0.999, True)] * 200, 0.02) < often < 1
    assert bench.explore_share(0.999, [(0.999, False)] * 200, 0.02) > often
