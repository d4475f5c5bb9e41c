"""``modelcache reconcile``: make the vectors agree with the rows."""

import argparse

from modelcache.cli.stores import reconcile_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", default="", help="only this model")


def run(asked: argparse.Namespace) -> int:
    """Reconcile one model, or all, and tell what was done."""
    reconcile_models(asked.profile, asked.model)
    return 0
