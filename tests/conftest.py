"""Fixtures that every test may use: a fresh app on a temporary folder, and its client."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

pytest.register_assert_rewrite("modelcache.testing")

from modelcache.app import create_app, get_service
from modelcache.core import Cache
from modelcache.testing.hash_embedder import NEAR, HashEmbedder
from tests.support.client import CacheClient
from tests.support.gateway_client import GatewayClient
from tests.support.upstream import Upstream

AppFactory = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[AppFactory]:
    """Build apps with the deterministic embedder; settings as keywords; all are closed at the end."""
    apps: list[Flask] = []

    def make(**settings: Any) -> Flask:
        app = create_app({"data_dir": tmp_path / "data"} | settings, embedder=HashEmbedder())
        apps.append(app)
        return app

    yield make
    for app in apps:
        get_service(app).close()


@pytest.fixture
def app(make_app: AppFactory) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> CacheClient:
    return CacheClient(app.test_client())


@pytest.fixture
def cache(app: Flask) -> Cache:
    """The open cache behind ``app``."""
    return get_service(app).cache


@pytest.fixture
def filled(app: Flask) -> Flask:
    """An app that holds two entries, and whose query finds the vectors of one."""
    CacheClient(app.test_client()).insert(("q" + NEAR, "near"), ("kept", "b"))
    return app


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server behind the gateway, which answers as it is told to."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def gateway(app: Flask) -> GatewayClient:
    """Asks ``app`` through its gateway; the test's file makes one that has it."""
    return GatewayClient(app.test_client())
