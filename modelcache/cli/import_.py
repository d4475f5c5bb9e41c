"""``modelcache import``: insert the entries of a file that ``export`` wrote."""

import argparse
from pathlib import Path

from tqdm import tqdm

from modelcache.admin.transfer import bring_in
from modelcache.cli.stores import opened_stores
from modelcache.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, help="what `export` wrote; a run that was stopped goes on there")


def run(asked: argparse.Namespace) -> int:
    """Insert the entries, and tell how many."""
    if not asked.file.is_file():
        raise ConfigError(f"{asked.file} is not there")
    with asked.file.open("rb") as file:
        total = sum(1 for _ in file)
    with (
        opened_stores(asked.profile) as (manager, gathering, settings),
        tqdm(total=total, unit="entry", disable=None) as bar,
    ):
        count = bring_in(manager, gathering, settings, asked.file, bar.update)
    print(f"{count} entries inserted from {asked.file}")
    return 0
