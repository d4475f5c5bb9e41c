"""The folder in which several processes keep their metrics, so that each can show those of all.

Nothing here imports the library before the folder is named: it looks at that once, when it is imported.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from modelcache.errors import ConfigError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def is_named() -> bool:
    """Tell whether an operator has named the folder."""
    return FOLDER_VARIABLE in os.environ


def prepare() -> None:
    """Name the folder and empty it, before any process that counts is started.

    The operator's, if there is one; otherwise a temporary one, which is removed at the end. Raises
    ConfigError.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        if named:
            _empty(Path(named))
            return
        made = tempfile.mkdtemp(prefix="modelcache-metrics-")
    except OSError as exc:
        where = named or tempfile.gettempdir()
        raise ConfigError(
            f"the workers cannot write their metrics in {where}: {exc.strerror}; {FOLDER_VARIABLE} names "
            "another folder, MODELCACHE_METRICS=false does without"
        ) from exc
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ[FOLDER_VARIABLE] = made


def _empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink(missing_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        """It can be written to."""


def forget(pid: int) -> None:
    """Have the gauges of a process that ended count no more; its counters stay."""
    if FOLDER_VARIABLE in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
