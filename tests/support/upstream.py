"""A server that speaks OpenAI's API over HTTP, answers as it is told to, and writes down what it is asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Json = dict[str, Any]
RESPONSE_USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 12,
}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
MODEL = "model-2026-01-01"
STALL_SECONDS = 5.0


@dataclass
class Call:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        fields: Json = json.loads(self.body)
        return fields


def asked_of(body: Json) -> str:
    """Return the last message of a request of either API."""
    messages = body.get("messages") or body["input"]
    last: Any = messages if isinstance(messages, str) else messages[-1]["content"]
    return last if isinstance(last, str) else "".join(part["text"] for part in last)


@dataclass
class Script:
    """How chat requests are answered."""

    text: Callable[[Json], str] = lambda body: f"You asked: {asked_of(body)}"
    finish_reason: str = "stop"
    message: Json = field(default_factory=dict)
    """Further fields of the message."""
    output: list[Json] = field(default_factory=list)
    """Of a response: items before the message."""
    part: Json = field(default_factory=dict)
    """Of a response: further fields of the message's part."""
    response: Json = field(default_factory=dict)
    """Further fields of a response."""
    status: int = 200
    error: Json = field(default_factory=lambda: {"message": "no", "type": "t", "param": None, "code": "c"})
    headers: Json = field(default_factory=dict)
    seconds: float = 0.0
    """Before the reply, and before each chunk of a stream."""
    fault: str = ""
    """Of a reply: `cut` in its middle, `stall` there, `error` as an event, `no-finish`, `drop` at once."""
    done: bool = True
    separator: str = "\n\n"


class Upstream:
    """Serves until the ``with`` block ends; ``url`` is what clients take as ``base_url``."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script = Script()
        self.choose: Callable[[], Script] = lambda: self.script
        """Says how the next chat request is answered."""
        self.left = threading.Event()
        """Set once somebody has gone away in a stream."""
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"upstream": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "Upstream":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def completion(self, body: Json, script: Script | None = None) -> Json:
        """Return what a call without streaming is answered."""
        script = script or self.script
        message = {"role": "assistant", "content": script.text(body), "refusal": None}
        choice = {"index": 0, "message": message | script.message, "logprobs": None}
        return {
            "id": f"chatcmpl-{len(self.calls)}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "system_fingerprint": "fp_1",
            "choices": [choice | {"finish_reason": script.finish_reason}],
            "usage": dict(USAGE),
        }

    def chunks(self, body: Json, script: Script | None = None) -> Iterator[Json]:
        """Give what a stream is made of."""
        script = script or self.script
        whole = self.completion(body, script)
        head = {name: whole[name] for name in ("id", "created", "model", "system_fingerprint")}
        head["object"] = "chat.completion.chunk"
        message = dict(whole["choices"][0]["message"])
        text = message.pop("content") or ""

        def chunk(delta: Json, finish_reason: str | None = None) -> Json:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return head | {"choices": [choice]}

        yield chunk(message | {"content": ""})
        for start in range(0, len(text), 4):
            yield chunk({"content": text[start : start + 4]})
        if script.fault != "no-finish":
            yield chunk({}, script.finish_reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            yield head | {"choices": [], "usage": dict(USAGE)}

    def response(self, body: Json, script: Script | None = None) -> Json:
        """Return what a call of the Responses API without streaming is answered."""
        script = script or self.script
        part = {"type": "output_text", "text": script.text(body), "annotations": [], "logprobs": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        return {
            "id": f"resp_{len(self.calls)}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata") or {},
            "model": MODEL,
            "output": [*script.output, message | {"content": [part | script.part]}],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": body.get("store", True),
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "usage": dict(RESPONSE_USAGE),
        } | script.response

    def response_events(self, body: Json, script: Script | None = None) -> Iterator[Json]:
        """Give what a stream of the Responses API is made of."""
        whole = self.response(body, script)
        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        for index, item in enumerate(whole["output"]):
            place = {"output_index": index, "item_id": item["id"]}
            content = item.get("content") or []
            yield {"type": "response.output_item.added", "item": item | {"content": []}} | place
            for part in content:
                spot = place | {"content_index": 0}
                yield {"type": "response.content_part.added", "part": part | {"text": ""}} | spot
                for start in range(0, len(part["text"]), 4):
                    delta = {"delta": part["text"][start : start + 4], "logprobs": []}
                    yield {"type": "response.output_text.delta"} | delta | spot
                yield {"type": "response.output_text.done", "text": part["text"], "logprobs": []} | spot
                yield {"type": "response.content_part.done", "part": part} | spot
            yield {"type": "response.output_item.done", "item": item} | place
        yield {"type": f"response.{whole['status']}", "response": whole}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        upstream = self.upstream
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        upstream.calls.append(Call(self.command, self.path, headers, body))
        if self.path not in ("/v1/chat/completions", "/v1/responses"):
            self._send(200, {"path": self.path, "echo": body.decode()})
            return
        fields, script = json.loads(body), upstream.choose()
        if script.fault == "drop":
            self.close_connection = True
        elif script.status != 200:
            self._send(script.status, {"error": script.error})
        elif fields.get("stream"):
            self._stream(fields, script)
        else:
            time.sleep(script.seconds)
            whole = upstream.completion if "messages" in fields else upstream.response
            self._send(200, whole(fields, script), script.fault)

    def _send(self, status: int, fields: Json, fault: str = "") -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        for name, value in self.upstream.script.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault else body)
        self.wfile.flush()
        if fault == "stall":
            time.sleep(STALL_SECONDS)
        if fault:
            self.close_connection = True

    def _stream(self, fields: Json, script: Script) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        is_chat = "messages" in fields
        if is_chat:
            said = [f"data: {json.dumps(chunk)}" for chunk in self.upstream.chunks(fields, script)]
        else:
            numbered = enumerate(self.upstream.response_events(fields, script))
            said = [
                f"event: {one['type']}\ndata: {json.dumps(one | {'sequence_number': number})}"
                for number, one in numbered
            ]
        events = [one + script.separator for one in said]
        try:
            for number, event in enumerate(events):
                time.sleep(script.seconds)
                if script.fault in ("cut", "stall", "error") and number == len(events) // 2:
                    self._break(event, script.fault)
                    return
                self._chunk(event)
            if script.done and is_chat:
                self._chunk(f"data: [DONE]{script.separator}")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.upstream.left.set()
            self.close_connection = True

    def _break(self, event: str, fault: str) -> None:
        self.close_connection = True
        if fault == "error":
            self._chunk(f"data: {json.dumps({'error': self.upstream.script.error})}\n\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self._chunk(event[: len(event) // 2])
        if fault == "stall":
            time.sleep(STALL_SECONDS)

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()
