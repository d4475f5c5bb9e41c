"""``modelcache evaluate``: what the cache would do with questions of your own."""

import argparse

from modelcache.evaluation import command
from modelcache.evaluation.command import add_arguments
from modelcache.settings import load_settings

__all__ = ["add_arguments", "run"]


def run(asked: argparse.Namespace) -> int:
    """Measure; returns 1 where too many hits are wrong."""
    return command.run(load_settings(asked.profile), asked)
