"""How long requests take while a database does not answer: before it is left alone, and after.

A MariaDB and a Milvus of its own are paused one after the other. It takes about a minute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from flask import Flask

from benchmarks.measure import Report
from benchmarks.sizes import Sizes
from modelcache.app import create_app, get_service
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.support.client import CacheClient, Json
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.milvus import MilvusServer

MODEL = "outage"
REQUESTS = 200
# No trial comes in between, so that what is measured is the open breaker.
SETTINGS = {"breaker_failures": 2, "breaker_seconds": 3600.0, "sweep_interval": 3600.0, "query_log": False}

Server = MariaDB | MilvusServer
Request = Callable[[CacheClient, int], Json]

REQUEST_TYPES: dict[str, Request] = {
    "exact query": lambda client, number: client.query("kept", model=MODEL),
    "query": lambda client, number: client.query(f"{number}{NEAR}", model=MODEL),
    "insert": lambda client, number: client.insert((f"new {number}", "a"), model=MODEL),
    "remove": lambda client, number: client.remove("delete_by_id", model=MODEL, id_list=[number]),
    "truncate": lambda client, number: client.remove("truncate_by_model", model="another"),
}


def measure_outage(folder: Path) -> dict[str, float]:
    """Return milliseconds by ``server, request, what``: the first request, and p50 and slowest later on.

    ``first`` is the first that meets the paused server, with a breaker that is closed; the others meet
    an open one. Each request type is measured by a service of its own.
    """
    (folder / "mysql").mkdir(parents=True)
    (folder / "milvus").mkdir()
    mysql = MariaDB(folder / "mysql")
    # A Milvus that was paused for longer than this takes itself to be dead.
    milvus = MilvusServer(folder / "milvus", **{"common.session.ttl": 600})
    figures: dict[str, float] = {}
    try:
        milvus.start()
        address = mysql.address(mysql.new_database())
        settings: dict[str, Any] = {
            "scalar_store": "mysql",
            "vector_store": "milvus",
            "milvus_uri": milvus.uri,
            "mysql_host": address.host,
            "mysql_port": address.port,
            "mysql_user": address.user,
            "mysql_password": address.password,
            "mysql_database": address.database,
        }
        servers: dict[str, Server] = {"mysql": mysql, "milvus": milvus}
        for name, server in servers.items():
            figures |= {f"{name}, {key}": value for key, value in _measure(settings, server).items()}
    finally:
        mysql.stop()
        milvus.stop()
    return figures


def _measure(settings: dict[str, Any], server: Server) -> dict[str, float]:
    """Measure every request type while the server is paused once."""
    apps = {name: create_app(settings | SETTINGS, embedder=HashEmbedder()) for name in REQUEST_TYPES}
    figures: dict[str, float] = {}
    try:
        for app in apps.values():
            _fill(CacheClient(app.test_client()))
        with _paused(server):
            for name, request in REQUEST_TYPES.items():
                client = CacheClient(apps[name].test_client())
                figures[f"{name}, first"] = _milliseconds(client, request, 0)
                _open_breakers(apps[name], client)
                later = sorted(_milliseconds(client, request, number) for number in range(REQUESTS))
                figures |= {f"{name}, p50": median(later), f"{name}, slowest": later[-1]}
    finally:
        for app in apps.values():
            get_service(app).close()
    return figures


def _fill(client: CacheClient) -> None:
    """Insert what is asked later, as often as a server that has just been resumed needs it."""
    wait_until(lambda: client.insert(("kept", "a"), model=MODEL)["errorCode"] == 0, "an insert")


def _open_breakers(app: Flask, client: CacheClient) -> None:
    """Fail until the paused server is left alone."""
    for _ in range(get_service(app).settings.breaker_failures):
        client.query("not there", model=MODEL)


def _milliseconds(client: CacheClient, request: Request, number: int) -> float:
    started = perf_counter()
    request(client, number)
    return (perf_counter() - started) * 1000


@contextmanager
def _paused(server: Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def run(sizes: Sizes, folder: Path) -> Iterator[Report]:
    """Pause each database, and time requests before and after it is left alone."""
    figures = measure_outage(folder)
    yield Report(
        "outage",
        ("paused, request", "first ms", "p50 ms when left alone", "slowest ms when left alone"),
        [
            (row, *(f"{figures[f'{row}, {what}']:.1f}" for what in ("first", "p50", "slowest")))
            for row in dict.fromkeys(key.rpartition(", ")[0] for key in figures)
        ],
    )
