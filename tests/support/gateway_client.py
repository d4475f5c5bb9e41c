"""Speak OpenAI's API to an app under test, without a client library."""

import json
from collections.abc import Mapping
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

Json = dict[str, Any]
KEY = "sk-one"
CHAT = "/v1/chat/completions"


def headers_of(key: str = KEY, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


def chat_body(text: str, model: str = "m", **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


class GatewayClient:
    """Asks one app, with one key."""

    def __init__(self, http: FlaskClient, key: str = KEY) -> None:
        self.http = http
        self.key = key

    def post(self, body: Any, headers: Mapping[str, str] | None = None, path: str = CHAT) -> TestResponse:
        sent = headers_of(self.key) if self.key else {}
        # Buffered, as a client of one's own would have read and closed it.
        return self.http.post(path, json=body, headers=sent | dict(headers or {}), buffered=True)

    def ask(self, text: str, headers: Mapping[str, str] | None = None, **more: Any) -> TestResponse:
        return self.post(chat_body(text, **more), headers)

    def said(self, text: str, headers: Mapping[str, str] | None = None, **more: Any) -> tuple[str, str]:
        """Ask, and return what x-modelcache says and the answer's text."""
        reply = self.ask(text, headers, **more)
        assert reply.status_code == 200, reply.text
        return reply.headers["x-modelcache"], text_of(reply)


def events_of(data: bytes) -> list[Json]:
    """Return the chunks of a stream, which ends as one should."""
    *events, done = [event for event in data.decode().split("\n\n") if event]
    assert done == "data: [DONE]"
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def text_of(reply: TestResponse) -> str:
    """Return the text of a reply in either form."""
    if reply.content_type.startswith("text/event-stream"):
        deltas = [chunk["choices"][0]["delta"] for chunk in events_of(reply.data) if chunk["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)
    text: str = reply.json["choices"][0]["message"]["content"]  # type: ignore[index]
    return text
