"""One process per folder, for the vector stores that keep theirs in process memory."""

import fcntl
from pathlib import Path
from typing import IO

from modelcache.errors import ConfigError

LOCK_NAME = ".lock"


class FolderLock:
    """A lock on a folder, which the end of the process releases too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        return self._file is not None

    def take(self) -> None:
        """Make the folder and lock it; ConfigError says in one sentence why that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / LOCK_NAME).open("a")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self.release()
            raise ConfigError(
                f"another service is using {self.folder}: stop it or set MODELCACHE_DATA_DIR"
            ) from exc
        except OSError as exc:
            self.release()
            raise ConfigError(f"cannot use the folder {self.folder}: {exc.strerror}") from exc

    def release(self) -> None:
        """Let another process have the folder; harmless when repeated."""
        if self._file is not None:
            self._file.close()
            self._file = None
