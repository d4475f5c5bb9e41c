"""seekdb, OceanBase's single-node engine, out of the Python package pylibseekdb."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.support.servers import ServerAbsentError
from tests.support.servers.mysql_protocol import MySQLProtocolServer


class SeekDB(MySQLProtocolServer):
    """A seekdb server: OceanBase's storage, transactions and MySQL mode in one process."""

    def prepare(self) -> None:
        # The package starts this program behind a Unix socket; here it listens on a port instead.
        found = find_spec("pylibseekdb")
        program = Path(found.origin).parent / "seekdb" if found and found.origin else None
        if program is None or not program.is_file():
            raise ServerAbsentError("the Python package pylibseekdb is not installed")
        self._program = program

    def command(self) -> Sequence[str | Path]:
        parameters = ("memory_budget=1G", "log_disk_size=2G", "datafile_size=100M")
        return [
            self._program,
            *("--nodaemon", f"--base-dir={self.folder}", f"--port={self.port}"),
            *(part for parameter in parameters for part in ("--parameter", parameter)),
        ]
