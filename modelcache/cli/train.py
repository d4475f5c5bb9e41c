"""``modelcache train``: teach the embedder and the reader from labelled pairs."""

import argparse

from modelcache.training import command
from modelcache.training.command import add_arguments

__all__ = ["add_arguments", "run"]


def run(asked: argparse.Namespace) -> int:
    """Teach, and write the weights."""
    command.run(asked)
    return 0
