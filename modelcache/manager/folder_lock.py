"""One process per folder, for the vector stores that keep theirs in process memory."""

from pathlib import Path

from filelock import FileLock, Timeout

from modelcache.errors import ConfigError

LOCK_NAME = ".lock"


class FolderLock:
    """A lock on a folder, which the end of the process releases too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Any thread may give it back. On a file system without locks taking it fails: the marker file that
        # could stand in for it would outlive a killed process and keep the next one from starting.
        self._lock = FileLock(folder / LOCK_NAME, blocking=False, thread_local=False, fallback_to_soft=False)

    @property
    def is_held(self) -> bool:
        return self._lock.is_locked

    def take(self) -> None:
        """Make the folder and lock it; ConfigError says in one sentence why that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as exc:
            raise ConfigError(
                f"another service is using {self.folder}: stop it or set MODELCACHE_DATA_DIR"
            ) from exc
        except OSError as exc:
            raise ConfigError(f"cannot use the folder {self.folder}: {exc.strerror}") from exc

    def release(self) -> None:
        """Let another process have the folder; harmless when repeated."""
        self._lock.release(force=True)
