"""Vectors from a server: any OpenAI-compatible /v1/embeddings, or Ollama's /api/embed."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import httpx
import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from modelcache.embedding.base import UNKNOWN_MODEL, Embedder
from modelcache.embedding.text import clean, safe_name
from modelcache.errors import ConfigError, EmbeddingError, RefusedTextsError
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

PATHS = {"openai": "/v1/embeddings", "ollama": "/api/embed"}


# What a server says of a text, or of too many; 500 as well, where it answers another text.
REFUSING = frozenset(
    {
        httpx.codes.BAD_REQUEST,
        httpx.codes.REQUEST_ENTITY_TOO_LARGE,
        httpx.codes.UNPROCESSABLE_ENTITY,
        httpx.codes.INTERNAL_SERVER_ERROR,
    }
)
PROBE = "probe"


class _PassingError(EmbeddingError):
    """A failure that another try may cure."""


class _StatusError(EmbeddingError):
    """The server answered, and refused."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _PassingStatusError(_StatusError, _PassingError):
    """The same, where another try may cure it."""


class RemoteEmbedder(Embedder):
    """Asks an embeddings server over pooled connections."""

    # More long texts at once would outlast the timeout of one call: a server that runs on a CPU
    # was seen to take 4 s for this many.
    BATCH_CHARS: ClassVar[int] = 8192

    thresholds = UNKNOWN_MODEL
    is_read = True
    may_change = True
    parallel = 8
    batch_chars = BATCH_CHARS

    def __init__(
        self,
        url: str,
        *,
        api: str,
        model: str,
        api_key: str = "",
        timeout: float = 5.0,
        retries: int = 2,
        batch: int = 128,
    ) -> None:
        self._base = url
        self._api = api
        self._model = model
        self._api_key = api_key.strip()
        self._timeout = timeout
        self._retries = retries
        self.batch_texts = batch
        self._shown = "the embeddings server"
        self._client: httpx.Client | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "RemoteEmbedder":
        """Take address, model, key and patience from the settings."""
        return cls(
            settings.remote_url,
            api=settings.remote_api,
            model=settings.remote_model,
            api_key=settings.remote_api_key.get_secret_value(),
            timeout=settings.remote_timeout,
            retries=settings.remote_retries,
            batch=settings.remote_batch,
        )

    def open(self) -> None:
        """Embed one text to learn the dimension; ConfigError when the server gives no vector."""
        if not self._model:
            raise ConfigError("remote_model is empty: the model's name keeps its vectors apart from others")
        url = self._endpoint()
        self._shown = f"the embeddings server {url.copy_with(userinfo=b'', query=None)}"
        self._client = httpx.Client(headers=self._headers(), timeout=self._timeout)
        self._url = url
        try:
            self.dimension = self._call([PROBE]).shape[1]
        except EmbeddingError as exc:
            self.close()
            raise ConfigError(f"{exc}; check remote_url, remote_api and remote_model") from exc
        self.name = f"remote-{self._api}-{safe_name(self._model)}-{self.dimension}"

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text; EmbeddingError once the retries are used up.

        RefusedTextsError where the server works but takes one of them, or so many, not.
        """
        if self._client is None:
            raise EmbeddingError("the remote embedder is not open")
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        # Servers refuse an empty string.
        cleaned = [clean(text, self.max_chars) or " " for text in texts]
        parts = [self._call(batch) for batch in self._batches(cleaned)]
        for part in parts:
            if part.shape[1] != self.dimension:
                raise EmbeddingError(
                    f"{self._shown} sent vectors of {part.shape[1]} numbers instead of {self.dimension}"
                )
        return np.concatenate(parts)

    def close(self) -> None:
        """Close the pooled connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _endpoint(self) -> httpx.URL:
        if not self._base:
            raise ConfigError("remote_url is empty: embedder 'remote' needs the server's address")
        try:
            url = httpx.URL(self._base)
        except httpx.InvalidURL as exc:
            raise ConfigError("remote_url is not an address") from exc
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError("remote_url must start with http:// or https:// and name a host")
        prefix = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
        return url.copy_with(path=prefix + PATHS[self._api])

    def _headers(self) -> dict[str, str]:
        if not self._api_key:
            return {}
        # Checked here because the driver's own complaint would quote the key.
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise ConfigError("remote_api_key holds characters that no HTTP header can carry")
        return {"Authorization": f"Bearer {self._api_key}"}

    def _batches(self, texts: list[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        chars = 0
        for text in texts:
            if batch and (len(batch) >= self.batch_texts or chars + len(text) > self.BATCH_CHARS):
                yield batch
                batch, chars = [], 0
            batch.append(text)
            chars += len(text)
        yield batch

    def _call(self, texts: list[str]) -> Embeddings:
        """Send one batch, again after a passing failure, and return its validated unit vectors."""
        retrying = Retrying(
            stop=stop_after_attempt(1 + self._retries),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
            retry=retry_if_exception_type(_PassingError),
            reraise=True,
        )
        try:
            reply: object = retrying(self._post, texts)
        except _StatusError as exc:
            if exc.status in REFUSING and texts != [PROBE] and self._takes_the_probe():
                raise RefusedTextsError(str(exc)) from exc
            raise
        return self._read_vectors(reply, len(texts))

    def _takes_the_probe(self) -> bool:
        """Tell whether the server embeds a text that it has embedded before."""
        try:
            self._post([PROBE])
        except EmbeddingError:
            return False
        return True

    def _post(self, texts: list[str]) -> object:
        """Return the decoded reply to one request.

        No message repeats the reply's text: a server may echo the key or what a user wrote.
        """
        client = self._client
        if client is None:
            raise EmbeddingError("the remote embedder was closed")
        try:
            response = client.post(self._url, json={"model": self._model, "input": texts})
        except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as exc:
            raise _PassingError(f"{self._shown} did not answer ({type(exc).__name__})") from exc
        except (httpx.HTTPError, RuntimeError) as exc:  # RuntimeError: closed by another thread
            raise EmbeddingError(f"{self._shown} cannot be asked ({type(exc).__name__})") from exc
        status = response.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
            raise _PassingStatusError(f"{self._shown} answered with status {status}", status)
        if status != httpx.codes.OK:
            raise _StatusError(f"{self._shown} answered with status {status}", status)
        try:
            reply: object = response.json()
        except (ValueError, RecursionError) as exc:
            raise EmbeddingError(f"{self._shown} sent no JSON") from exc
        return reply

    def _read_vectors(self, reply: Any, count: int) -> Embeddings:
        """Return ``count`` unit vectors in the order of the request, or raise EmbeddingError."""
        try:
            rows = reply["embeddings"] if self._api == "ollama" else _rows_by_index(reply["data"])
            vectors = np.asarray(rows, dtype=np.float64)
        except (LookupError, TypeError, ValueError, OverflowError) as exc:
            raise EmbeddingError(f"{self._shown} sent a reply without readable vectors") from exc
        if vectors.ndim != 2 or vectors.shape[0] != count or vectors.shape[1] == 0:
            raise EmbeddingError(
                f"{self._shown} sent an array of shape {vectors.shape} as the vectors of {count} texts"
            )
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        if not (np.isfinite(largest).all() and largest.all()):
            raise EmbeddingError(f"{self._shown} sent a vector of zeros or of numbers that are not finite")
        # Scaled first: the square of a large float64 does not fit the float32 of the result.
        return normalise_rows(vectors / largest)


def _rows_by_index(items: list[dict[str, Any]]) -> list[Any]:
    """Order the items of an OpenAI reply; ValueError unless their indices are 0, 1, 2 …"""
    ordered = sorted(items, key=lambda item: int(item["index"]))
    if [item["index"] for item in ordered] != list(range(len(items))):
        raise ValueError("the indices of the vectors have gaps")
    return [item["embedding"] for item in ordered]
