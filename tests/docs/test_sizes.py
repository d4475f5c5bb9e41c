"""What is read at once fits a screen: no long function, no long file. Ruff sees to the branches."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.running import ROOT

MOST_FUNCTION_LINES = 50
MOST_FILE_LINES = 400
# A table of fields, each with its help, is looked up in and not read through.
TABLES = {Path("modelcache/settings.py")}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path}: {function.name}, {lines} lines"
        for path in sources()
        for function in functions(path)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MOST_FUNCTION_LINES
    ]
    assert long == []


def test_no_file_but_a_table_is_long() -> None:
    long = {path for path in sources() if len(text_of(path).splitlines()) > MOST_FILE_LINES}
    assert long - TABLES == set()


def test_the_tables_are_long() -> None:
    assert all(len(text_of(path).splitlines()) > MOST_FILE_LINES for path in TABLES)


def sources() -> list[Path]:
    """Return the files of the package, the benchmarks and the scripts beside them."""
    found = [*ROOT.glob("*.py"), *(ROOT / "modelcache").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in found if "tests" not in path.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
