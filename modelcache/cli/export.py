"""``modelcache export``: write entries to a file of JSON Lines."""

import argparse
from pathlib import Path

from tqdm import tqdm

from modelcache.admin.transfer import export, last_exported
from modelcache.cli.stores import opened_stores
from modelcache.errors import ConfigError
from modelcache.records.names import model_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, help="where to write the entries, one a line")
    parser.add_argument("--model", default="", help="only this model")
    parser.add_argument("--embeddings", action="store_true", help="write the embeddings as well")
    parser.add_argument(
        "--resume", action="store_true", help="go on behind the last entry of the file; of one model only"
    )


def run(asked: argparse.Namespace) -> int:
    """Write the entries, and tell how many."""
    if asked.resume and not asked.model:
        raise ConfigError("--resume needs --model")
    after = last_exported(asked.file) if asked.resume and asked.file.exists() else 0
    with opened_stores(asked.profile) as (manager, _, _):
        models = [asked.model] if asked.model else manager.scalars.models()
        total = sum(manager.scalars.count(model_key(model)) for model in models)
        with (
            asked.file.open("a" if after else "w", encoding="utf-8") as file,
            tqdm(total=total, unit="entry", disable=None) as bar,
        ):
            count = export(
                manager, models, file, after=after, embeddings=asked.embeddings, progress=bar.update
            )
    print(f"{count} entries written to {asked.file}")
    return 0
