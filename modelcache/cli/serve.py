"""``modelcache serve``: the service, with several workers."""

import argparse

from modelcache.serving import workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes: nothing, since the settings say it all."""


def run(asked: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    return workers.main(asked.profile)
