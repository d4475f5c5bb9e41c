"""What MariaDB and seekdb have in common: a process, a port, a root user, databases."""

import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from modelcache.manager.scalar_data.mysql_connection import Server
from modelcache.testing.waiting import wait_until
from tests.support.servers import free_port, freeze

STOP_SECONDS = 60.0


class MySQLProtocolServer(ABC):
    """A server on a free port of this machine with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = ""
        self.prepare()
        self.start()
        try:
            password = secrets.token_hex(16)
            [[user]] = self.execute("SELECT CURRENT_USER()")
            name, host = user.split("@")
            self.execute(f"ALTER USER '{name}'@'{host}' IDENTIFIED BY '{password}'")
            self.password = password
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def prepare(self) -> None:
        """Find the program, or raise ServerAbsentError, and make what it needs in the folder."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return what starts the server in the foreground."""

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            wait_until(self._answers, "an answer of the database server")
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "output.log").read_text(errors="replace")[-2000:])
        try:
            self.connect().close()
        except pymysql.MySQLError:
            return False
        return True

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Kill the server as a power cut would, and start it on the same data."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """End it as a power cut would; ``start`` may follow."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Make it stop answering; the kernel still accepts connections."""
        freeze(self.process)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def connect(self, database: str | None = None) -> "Connection[Cursor]":
        """Open a connection of the test's own, with autocommit."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=5,
            read_timeout=60,
        )

    def execute(self, sql: str, values: Sequence[Any] = (), database: str | None = None) -> list[Any]:
        """Execute one statement on a connection of its own and return its rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return list(cursor.fetchall())

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{secrets.token_hex(8)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def address(self, database: str) -> Server:
        return Server("127.0.0.1", self.port, "root", SecretStr(self.password), database)

    def kill_connections(self, database: str) -> int:
        """Kill every connection to this database and return how many there were."""
        doomed = [row[0] for row in self.execute("SHOW PROCESSLIST") if row[3] == database]
        for id_ in doomed:
            self.execute(f"KILL {id_}")
        return len(doomed)
