"""The documents' pages, and the parts of them that are written by a program."""

from tests.support.running import ROOT

READMES = ["README.md", "README_CN.md"]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def between(page: str, marker: str) -> str:
    """Return what stands between a page's markers; it has them once."""
    _, behind = read(page).split(f"<!-- {marker} -->")
    block, _ = behind.split(f"<!-- /{marker} -->")
    return block.strip()
