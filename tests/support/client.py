"""Speak the wire contract to an app under test."""

from typing import Any

from flask.testing import FlaskClient

Json = dict[str, Any]


def user(text: str) -> list[Json]:
    """A dialogue of one question."""
    return [{"role": "user", "content": text}]


class CacheClient:
    """Sends requests to one app and returns the replies' bodies."""

    def __init__(self, http: FlaskClient) -> None:
        self.http = http

    def post(self, body: Any, status: int = 200) -> Json:
        """Send a JSON body; the HTTP status must be as expected."""
        response = self.http.post("/modelcache", json=body)
        assert response.status_code == status, response.text
        reply: Json = response.get_json()
        return reply

    def query(self, dialogue: str | list[Json], model: str = "m", **more: Any) -> Json:
        messages = user(dialogue) if isinstance(dialogue, str) else dialogue
        scope = {"model": model} | more.pop("scope", {})
        return self.post({"type": "query", "scope": scope, "query": messages} | more)

    def insert(self, *pairs: tuple[str | list[Json], str], model: str = "m", **more: Any) -> Json:
        """Insert (dialogue, answer) pairs; further keywords go into every chat_info element."""
        scope = {"model": model} | more.pop("scope", {})
        chat_info = [
            {"query": user(dialogue) if isinstance(dialogue, str) else dialogue, "answer": answer} | more
            for dialogue, answer in pairs
        ]
        return self.post({"type": "insert", "scope": scope, "chat_info": chat_info})

    def remove(self, remove_type: str, model: str = "m", **more: Any) -> Json:
        return self.post({"type": "remove", "scope": {"model": model}, "remove_type": remove_type} | more)

    def feedback(
        self, hit_id: Any, dialogue: str | list[Json], correct: Any, model: str = "m", **more: Any
    ) -> Json:
        messages = user(dialogue) if isinstance(dialogue, str) else dialogue
        body = {"type": "feedback", "scope": {"model": model} | more, "query": messages}
        return self.post(body | {"hit_id": hit_id, "correct": correct})

    def register(self, model: str = "m", **more: Any) -> Json:
        return self.post({"type": "register", "scope": {"model": model}} | more)
