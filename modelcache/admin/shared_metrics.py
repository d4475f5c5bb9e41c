"""The folder in which several processes keep their metrics, so that each can show those of all.

Nothing here imports the library before the folder is named: it looks at that once, when it is imported.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare() -> None:
    """Name the folder and empty it, before any process that counts is started.

    The operator's, if there is one; otherwise a temporary one, which is removed at the end.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.db"):
            left.unlink(missing_ok=True)
        return
    made = tempfile.mkdtemp(prefix="modelcache-metrics-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ[FOLDER_VARIABLE] = made


def forget(pid: int) -> None:
    """Have the gauges of a process that ended count no more; its counters stay."""
    if FOLDER_VARIABLE in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
