"""``modelcache calibrate``: what thresholds cost on labelled pairs, and what to set."""

import argparse

from modelcache.calibration import command
from modelcache.calibration.command import add_arguments
from modelcache.settings import load_settings

__all__ = ["add_arguments", "run"]


def run(asked: argparse.Namespace) -> int:
    """Calibrate with the service's settings."""
    command.run(load_settings(asked.profile), asked)
    return 0
