"""``modelcache shadow-report``: what each threshold would have answered of a model's queries."""

import argparse

from modelcache.learning.tallies import shadow_report
from modelcache.manager.factory import get_scalar_store
from modelcache.records.names import model_key
from modelcache.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", required=True, help="the model")


def run(asked: argparse.Namespace) -> int:
    """Print a model's counts; may run beside a service."""
    scalars = get_scalar_store(load_settings(asked.profile))
    scalars.open()
    try:
        print(shadow_report(scalars.tallies(model_key(asked.model))))
    finally:
        scalars.close()
    return 0
