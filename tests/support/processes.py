"""Processes that a service has started."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the processes that this one has started and that still run."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, listed) if is_running(child)]


def is_running(pid: int) -> bool:
    """Tell whether there is such a process, other than one that only waits to be told of."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
