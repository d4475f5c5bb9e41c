"""``modelcache rebuild``: make a model's vectors anew from its rows."""

import argparse

from modelcache.cli.stores import reconcile_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", required=True, help="the model")


def run(asked: argparse.Namespace) -> int:
    """Drop the model's vectors, make them anew, and tell how many."""
    reconcile_models(asked.profile, asked.model, anew=True)
    return 0
