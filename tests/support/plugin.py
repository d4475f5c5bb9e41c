"""Options and reports of every test, here and beside the benchmarks; pyproject.toml names it to pytest."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ABSENT, TOLD

NOT_QUICK = ("server", "process", "network", "packages", "slow")
MARKED = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(NOT_QUICK)})$", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"leave out what is marked {', '.join(NOT_QUICK)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --quick do not even import a module so marked: its packages need not be installed."""
    if not config.getoption("--quick") or collection_path.suffix != ".py":
        return None
    return True if MARKED.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --quick leave out single tests so marked."""
    if not config.getoption("--quick"):
        return
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in NOT_QUICK)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have a process that runs a part of the tests tell the first one what it has to tell."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output |= {"absent": dict(ABSENT), "told": list(TOLD)}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what such a process has to tell."""
    output = getattr(node, "workeroutput", {})
    ABSENT.update(output.get("absent", {}))
    TOLD.extend(output.get("told", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests counted and, last, which servers were not tested against, and why."""
    for line in TOLD:
        terminalreporter.write_line(line)
    for name, reason in ABSENT.items():
        terminalreporter.write_line(f"not tested against {name}: {reason}", yellow=True)
