"""The server behind the gateway: any that speaks OpenAI's API. No other file knows the HTTP client."""

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx2

from modelcache.errors import ConfigError, ModelCacheError
from modelcache.gateway.headers import NOT_SENT_BACK, NOT_SENT_ON, passed
from modelcache.gateway.messages import Headers, HttpRequest
from modelcache.spans import Spans

if TYPE_CHECKING:
    from modelcache.settings import Settings

logger = logging.getLogger(__name__)

ROOT = "/v1"
CONNECT_SECONDS = 5.0
PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
OWN_PREFIX = "x-modelcache"
# What speaks to this cache, not to the server behind.
OWN_HEADERS = frozenset({"cache-control"})


class UpstreamError(ModelCacheError):
    """The server behind could not be reached, did not answer in time, or broke off."""

    def __init__(self, status: int, code: str, public: str) -> None:
        super().__init__(public)
        self.status = status
        self.code_name = code


class Sent:
    """A reply whose head has come; ``close`` it."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "")
        self.is_encoded = "content-encoding" in response.headers

    def headers(self) -> Headers:
        """Return the headers that go back to the caller."""
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw_headers()]
        return passed(named, NOT_SENT_BACK)

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower(), value) for name, value in self._response.headers.raw]

    def parts(self) -> Iterator[bytes]:
        """Give the body's bytes as they come. Raises UpstreamError where it breaks off."""
        with _translated():
            yield from self._response.iter_raw()

    def read(self) -> bytes:
        """Return the body's bytes. Raises UpstreamError where it breaks off."""
        return b"".join(self.parts())

    def close(self) -> None:
        """Give the connection back, or drop it where the body was not read to its end."""
        self._response.close()


class Upstream:
    """Sends requests on, over pooled connections; safe to use from many threads."""

    def __init__(
        self, url: str, api_key: str, timeout: float, connections: int, spans: Spans | None = None
    ) -> None:
        self._spans = spans or Spans()
        self._url = url.rstrip("/")
        self._api_key = api_key.strip()
        self._timeout = timeout
        self._connections = connections
        self._client: httpx2.Client | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: "Settings", spans: Spans | None = None) -> "Upstream":
        """Take address, key and patience from the settings; ConfigError for what is no address."""
        url = settings.upstream_url
        if not url.startswith(("http://", "https://")):
            raise ConfigError("setting 'upstream_url': expected an address such as https://HOST/v1")
        key = settings.upstream_api_key.get_secret_value()
        return cls(url, key, settings.upstream_timeout, settings.gateway_threads, spans)

    def close(self) -> None:
        """Close the connections; harmless when repeated."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def send(self, request: HttpRequest, body: bytes, *, to_read: bool) -> Sent:
        """Send a request on and return when the reply's head has come. Raises UpstreamError.

        ``to_read``: the reply is to be read here as well, so that it must not be compressed.
        """
        path = quote(request.path.removeprefix(ROOT), safe=PLAIN_IN_PATHS)
        url = self._url + path + (f"?{request.query}" if request.query else "")
        client = self._opened()
        with _translated():
            built = httpx2.Request(
                request.method,
                url,
                headers=self._spans.sent_on(self._headers(request, to_read)),
                content=body or None,
                extensions={"timeout": self._patience().as_dict()},
            )
            return Sent(client.send(built, stream=True))

    def _headers(self, request: HttpRequest, to_read: bool) -> Headers:
        headers = [
            (name, value)
            for name, value in passed(request.headers, NOT_SENT_ON)
            if not (name.startswith(OWN_PREFIX) or (to_read and name in OWN_HEADERS | {"accept-encoding"}))
        ]
        if to_read:
            headers.append(("accept-encoding", "identity"))
        if self._api_key:
            headers = [(name, value) for name, value in headers if name != "authorization"]
            headers.append(("authorization", f"Bearer {self._api_key}"))
        return headers

    def _patience(self) -> httpx2.Timeout:
        return httpx2.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout))

    def _opened(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                limits = httpx2.Limits(
                    max_connections=None, max_keepalive_connections=self._connections, keepalive_expiry=30.0
                )
                self._client = httpx2.Client(limits=limits, follow_redirects=False)
            return self._client


class _translated:  # noqa: N801 - used as a statement
    """Turn what the HTTP client raises into UpstreamError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, httpx2.TimeoutException) and not isinstance(exc, httpx2.ConnectTimeout):
            raise UpstreamError(504, "upstream_timeout", "the server behind did not answer in time") from exc
        if isinstance(exc, httpx2.ConnectError | httpx2.ConnectTimeout):
            logger.warning("the server behind cannot be reached: %s", exc)
            message = "the server behind could not be reached"
            raise UpstreamError(502, "upstream_unreachable", message) from exc
        if isinstance(exc, httpx2.HTTPError | httpx2.InvalidURL):
            logger.warning("the server behind broke off: %s", exc)
            raise UpstreamError(502, "upstream_broke_off", "the server behind broke off") from exc
