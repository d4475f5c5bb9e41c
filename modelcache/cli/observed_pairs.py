"""``modelcache observed-pairs``: what users and true answers told of hits, as labelled pairs."""

import argparse

from modelcache.evaluation import observed
from modelcache.evaluation.observed import add_arguments
from modelcache.settings import load_settings

__all__ = ["add_arguments", "run"]


def run(asked: argparse.Namespace) -> int:
    """Write the pairs; may run beside a service."""
    observed.run(load_settings(asked.profile), asked)
    return 0
