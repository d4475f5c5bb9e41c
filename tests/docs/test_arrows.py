"""What may import what: a request walks one line, and no part knows those who use it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "modelcache"
BENCHMARKS_IMPORT = re.compile(r"^\s*(from|import) benchmarks\b", re.MULTILINE)
TESTS_IMPORT = re.compile(r"^\s*(from|import) tests\.(?!support\b)", re.MULTILINE)

GROUND = {"errors", "hashing"}
STORAGE = {"manager"}
JUDGEMENT = {"slots", "similarity_evaluation", "decision", "language"}
APIS = {"adapter", "gateway", "langcache", "gptcache", "admin", "app", "serving", "cli", "client"}
OFFLINE = {"calibration", "evaluation", "training", "model_building"}
# What the APIs have in common, above the look-up.
COMMON = {"answering", "telling"}
ABOVE_LOOKUP = APIS | OFFLINE | COMMON | {"core"}

ALLOWED = {
    "errors": set[str](),
    "hashing": set[str](),
    "records": GROUND,
    "events": GROUND | {"records"},
    "spans": set[str](),
    "language": GROUND | {"records"},
}
FORBIDDEN = {
    **{part: STORAGE | ABOVE_LOOKUP | {"lookup"} for part in JUDGEMENT | {"embedding", "processor"}},
    "manager": JUDGEMENT | ABOVE_LOOKUP | {"lookup", "learning", "embedding"},
    "learning": ABOVE_LOOKUP | {"lookup"},
    "lookup": ABOVE_LOOKUP,
    "core": APIS | OFFLINE | COMMON,
    **dict.fromkeys(COMMON, APIS | OFFLINE),
    "adapter": {"admin", "gateway", "langcache", "gptcache", "app", "serving", "cli"} | OFFLINE,
    "gateway": {"adapter", "admin", "langcache", "gptcache", "app", "serving", "cli"} | OFFLINE,
    "langcache": {"adapter", "admin", "gateway", "gptcache", "app", "serving", "cli"} | OFFLINE,
    "gptcache": {"adapter", "admin", "gateway", "langcache", "app", "serving", "cli"} | OFFLINE,
    "admin": {"adapter", "gateway", "langcache", "gptcache", "app", "serving", "cli"} | OFFLINE,
    "app": {"serving", "cli"} | OFFLINE,
}


def imported(part: str) -> Iterator[tuple[str, str]]:
    """Give each file of a part and the top-level name of what it imports: of our own, the part's."""
    place = ROOT / PACKAGE / part
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == PACKAGE:
                    names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                head, _, rest = name.partition(".")
                yield str(path.relative_to(ROOT)), rest.split(".")[0] if head == PACKAGE else head


def own_parts() -> set[str]:
    return {path.stem for path in (ROOT / PACKAGE).iterdir()}


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_the_ground_knows_nothing_else(part: str) -> None:
    beside = {(path, name) for path, name in imported(part) if name in own_parts() - ALLOWED[part] - {part}}
    assert not beside


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_no_part_knows_those_above_it(part: str) -> None:
    assert not {(path, name) for path, name in imported(part) if name in FORBIDDEN[part]}


def test_nothing_but_the_suites_needs_what_tests_need() -> None:
    parts = own_parts() - {"testing", "py"}
    told = {(path, name) for part in parts for path, name in imported(part)}
    assert not {(path, name) for path, name in told if name in ("pytest", "testing")}


def test_only_commands_show_progress() -> None:
    parts = own_parts() - OFFLINE - {"cli", "py"}
    assert not {path for part in parts for path, name in imported(part) if name == "tqdm"}


def test_nothing_under_the_look_up_knows_flask() -> None:
    under = JUDGEMENT | STORAGE | {"records", "embedding", "processor", "learning", "lookup", "core"}
    assert not {path for part in under for path, name in imported(part) if name in ("flask", "werkzeug")}


def test_only_metrics_know_their_library() -> None:
    """It looks at the environment when it is imported, which a parent of several processes sets before."""
    parts = own_parts() - {"py"}
    knowing = {path for part in parts for path, name in imported(part) if name == "prometheus_client"}
    assert {path.rpartition("/")[0] for path in knowing} == {"modelcache/admin"}


def test_the_client_knows_nothing_of_the_service() -> None:
    assert not {(path, name) for path, name in imported("client") if name in own_parts() - {"client"}}


def test_tests_and_benchmarks_share_their_support_and_nothing_else() -> None:
    of_tests = sorted((ROOT / "tests").rglob("*.py"))
    assert not [path for path in of_tests if BENCHMARKS_IMPORT.search(path.read_text(encoding="utf-8"))]
    of_benchmarks = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert not [path for path in of_benchmarks if TESTS_IMPORT.search(path.read_text(encoding="utf-8"))]
