"""Vectors in Redis with its search module: one index per collection, over hashes under one prefix.

A key is ``<collection>:<id>``. Names of collections hold no colon, so that no collection's prefix
fits the keys of another.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import batched
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError
from redis.retry import Retry
