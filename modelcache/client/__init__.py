"""A client of the cache: ``Client``, ``AsyncClient``, and ``wrap`` for OpenAI's own.

It imports nothing of the service, and of other packages httpx2 only, which ``modelcache[client]`` installs.
"""

from modelcache.client.calls import AsyncClient, Client
from modelcache.client.replies import Answer, CacheError, CacheUnreachableError, Inserted, RefusedError
from modelcache.client.wrapping import wrap

__all__ = [
    "Answer",
    "AsyncClient",
    "CacheError",
    "CacheUnreachableError",
    "Client",
    "Inserted",
    "RefusedError",
    "wrap",
]
