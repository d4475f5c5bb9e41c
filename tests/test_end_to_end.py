"""The whole service on each pair of stores: what a client is promised holds on all of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from modelcache.app import create_app, get_service
from modelcache.manager.names import collection_name, model_key
from tests.client import CacheClient
from tests.hash_embedder import NEAR, HashEmbedder

Scalars = Callable[[], dict[str, Any]]
