"""``modelcache demo``: the whole service in one process."""

import argparse

from modelcache.serving import process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes: nothing, since the settings say it all."""


def run(asked: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, which ends the process; ConfigError says why it cannot start."""
    process.main(asked.profile)
