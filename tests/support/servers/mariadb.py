"""MariaDB, as installed on this machine (Debian: mariadb-server); the system's own service is not used."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import ServerAbsentError
from tests.support.servers.certificates import Certificates
from tests.support.servers.mysql_protocol import MySQLProtocolServer


def _program(*names: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    raise ServerAbsentError(f"{names[0]} is not installed (Debian: apt-get install mariadb-server)")


class MariaDB(MySQLProtocolServer):
    """A MariaDB server with TLS; ``certificates.authority`` is who signed for it."""

    def prepare(self) -> None:
        self._server = _program("mariadbd", "mysqld")
        self.certificates = Certificates(self.folder)
        # Datadir under a short name: a Unix socket's path has room for 107 bytes, and is not used.
        self.data = self.folder / "data"
        subprocess.run(
            [
                _program("mariadb-install-db", "mysql_install_db"),
                *("--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"),
                *(f"--datadir={self.data}", *self._user()),
            ],
            check=True,
            capture_output=True,
        )

    def command(self) -> Sequence[str | Path]:
        return [
            self._server,
            "--no-defaults",
            *self._user(),
            f"--datadir={self.data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={os.path.relpath(self.folder / 's', self.data)}",
            f"--pid-file={self.folder / 'pid'}",
            "--innodb-buffer-pool-size=64M",
            f"--ssl-cert={self.certificates.certificate}",
            f"--ssl-key={self.certificates.key}",
        ]

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []
