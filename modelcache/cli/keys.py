"""``modelcache keys``: create, list and revoke the keys of callers. A running service sees it at once."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from modelcache.access.keys import ANY_MODEL, ROLES, create_key, read_keys, revoke_key
from modelcache.errors import ConfigError
from modelcache.settings import load_settings

LIMITS = ("requests_per_minute", "inserts_per_minute", "bytes_per_minute")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--file", type=Path, help="the file of the keys; otherwise the one that MODELCACHE_KEYS_FILE names"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key, and show it this once")
    create.add_argument("name", help="whose it is")
    create.add_argument(
        "--role", choices=ROLES, action="append", required=True, help="what it may do; may be repeated"
    )
    create.add_argument(
        "--model", action="append", help="a model that it may touch, * for any characters; may be repeated"
    )
    create.add_argument("--expires", type=_day, metavar="YYYY-MM-DD", help="from this day on it is not valid")
    for limit in LIMITS:
        create.add_argument(
            f"--{limit.replace('_', '-')}", type=int, default=0, help="0, the default: any number"
        )
    actions.add_parser("list", help="tell the keys, not their secrets")
    revoke = actions.add_parser("revoke", help="take a key off the file")
    revoke.add_argument("name", help="whose it is")


def run(asked: argparse.Namespace) -> int:
    """Change or show the file."""
    path = asked.file or load_settings(asked.profile).keys_file
    if path is None:
        raise ConfigError("keys needs --file or MODELCACHE_KEYS_FILE")
    if asked.action == "create":
        limits = {limit: getattr(asked, limit) for limit in LIMITS}
        models = tuple(asked.model or (ANY_MODEL,))
        print(create_key(path, asked.name, asked.role, models=models, expires_at=asked.expires, **limits))
    elif asked.action == "revoke":
        revoke_key(path, asked.name)
    else:
        for key in read_keys(path).values():
            until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "without end"
            limits_told = [f"{limit}={value}" for limit in LIMITS if (value := getattr(key, limit))]
            print(
                f"{key.name}: {', '.join(key.roles)}; models {', '.join(key.models)}; {until}", *limits_told
            )
    return 0


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
