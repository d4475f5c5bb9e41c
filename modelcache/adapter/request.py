"""From the bytes of a body to a typed request; whatever is wrong with it is raised here."""

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from modelcache.errors import BodyError, FieldError, RemoveTypeError, RequestTypeError
from modelcache.processor.canonical import told_fields
from modelcache.processor.texts import MAX_NESTING, encodable, has_text, is_deep
from modelcache.records.dialogue import SYSTEM_ROLES, Message
from modelcache.records.question import ScopeValue

# What the text of error 102 has always named; `feedback` is taken too.
REQUEST_TYPES = ("query", "insert", "remove", "register")
RemoveType = Literal[
    "delete_by_id",
    "truncate_by_model",
    "delete_by_tag",
    "delete_by_scope",
    "truncate_all",
    "delete_by_source",
    "delete_by_age",
]
REMOVE_TYPES = get_args(RemoveType)
Mode = Literal["off", "shadow", "serve", "verified"]
MAX_MODEL_CHARS = 256
MAX_TAG_CHARS = 256
MAX_TOP_K = 100
MAX_ENTRIES = 2**53
# The types of a part of a content that is text, as OpenAI's two APIs name them.
TEXT_TYPES = ("text", "input_text", "output_text")
PARTS = "content[]"
# Fields beside the messages that change what a model answers. They are part of the scope.
PARAMETERS = frozenset(
    {
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
        *("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "seed", "stop", "n"),
        *("max_tokens", "max_completion_tokens", "reasoning_effort", "verbosity", "modalities"),
    }
)

# What a field is told to be when it is missing or misshapen; `[]` stands for an element of a list.
EXPECTED = {
    "scope": 'an object such as {"model": "gpt-4"}',
    "model": f"a non-empty string of up to {MAX_MODEL_CHARS} characters",
    "query": 'a list of messages such as [{"role": "user", "content": "…"}]',
    "query[]": 'an object such as {"role": "user", "content": "…"}',
    "role": "a non-empty string",
    "content": 'a string or a list of {"type": "text", "text": "…"}',
    "name": "a string",
    "threshold": "a number from 0 to 1",
    "cache_skip": "true or false",
    "top_k": f"an integer from 1 to {MAX_TOP_K}",
    "chat_info": 'a non-empty list of {"query": [messages], "answer": "…"}',
    "chat_info[]": 'an object such as {"query": [messages], "answer": "…"}',
    "answer": "a non-empty string",
    "ttl": "a positive number of seconds",
    "metadata": "an object",
    "max_size": "a number of entries, 0 for no limit",
    "tags": "a list of non-empty strings",
    "tags[]": f"a non-empty string of up to {MAX_TAG_CHARS} characters",
    "sources": "a list of non-empty strings",
    "sources[]": f"a non-empty string of up to {MAX_TAG_CHARS} characters",
    "asked_at": "a number of seconds since 1970, as the reply to a query tells it",
    "older_than": "a positive number of seconds",
    "dry_run": "true or false",
    "remove_type": "one of " + ", ".join(REMOVE_TYPES),
    "id_list": "a list of integers",
    "id_list[]": "an integer",
    "mode": "one of " + ", ".join(get_args(Mode)),
    "error_rate": "a number over 0 and under 1",
    "hit_id": "an integer",
    "correct": "true or false",
}
# What a type of removal needs beside the scope.
NEEDED = {
    "delete_by_id": "id_list",
    "delete_by_tag": "tags",
    "delete_by_source": "sources",
    "delete_by_age": "older_than",
}
CUSTOM = "field"


def _bad(message: str) -> PydanticCustomError:
    # The message is handed over as a value: braces in it are not placeholders.
    return PydanticCustomError(CUSTOM, "{message}", {"message": message})


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _bad("expected a finite number")
    return value


def _text_of(parts: list[Any]) -> str:
    """Join OpenAI's list form of a content into one text."""
    texts = []
    for number, part in enumerate(parts):
        is_text = isinstance(part, dict) and part.get("type") in TEXT_TYPES
        if not is_text or not isinstance(part.get("text"), str):
            raise _bad(f'part {number} is not {{"type": "text", "text": "…"}}; only text can be cached')
        texts.append(part["text"])
    return "".join(texts)


def _content(value: Any) -> Any:
    """Read a content that is absent or null as empty: the message may be a call, or a refusal."""
    if value is None:
        return ""
    return _text_of(value) if isinstance(value, list) else value


def _json(value: Any) -> Any:
    """Accept any JSON that can be hashed and stored."""
    _shallow(value)
    for inner in _inner_values(value):
        if isinstance(inner, float):
            _finite(inner)
        elif isinstance(inner, str):
            _encodable(inner)
    return value


def _inner_values(value: Any) -> Iterator[Any]:
    """Give a value, and all that is in it, keys as well."""
    yield value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _inner_values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _inner_values(inner)


def _encodable(text: str) -> str:
    try:
        return encodable(text)
    except ValueError as exc:
        raise _bad(str(exc)) from None


def _shallow(value: Any) -> Any:
    """Refuse what is nested too deep."""
    if is_deep(value):
        raise _bad(f"is nested deeper than {MAX_NESTING} levels")
    return value


Text = Annotated[str, AfterValidator(_encodable)]
NonEmptyText = Annotated[str, Field(min_length=1), AfterValidator(_encodable)]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS), AfterValidator(_encodable)]
Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG_CHARS), AfterValidator(_encodable)]


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, frozen=True)


class MessageBody(_Strict):
    """A message. What is in no field here counts as well, unless it is known to mean nothing."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    __pydantic_extra__: dict[Text, Annotated[Any, AfterValidator(_shallow)]]

    role: NonEmptyText
    content: Annotated[Text, BeforeValidator(_content)] = ""
    name: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _keep_what_parts_say_beside_text(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("content"), list):
            return value
        parts = [part for part in value["content"] if isinstance(part, dict)]
        beside = [
            told_fields({name: kept for name, kept in part.items() if name not in ("type", "text")})
            for part in parts
        ]
        return {**value, PARTS: beside} if any(beside) else value

    def to_message(self) -> Message:
        fields = self.__pydantic_extra__
        if self.name is not None:
            fields = {"name": self.name, **fields}
        return Message(self.role, self.content, told_fields(fields) if fields else {})


def _asks_something(messages: list[MessageBody]) -> list[MessageBody]:
    turns = [message for message in messages if message.role not in SYSTEM_ROLES]
    if not turns:
        raise _bad("expected at least one message besides system ones")
    if not has_text(turns[-1].content) or not has_text(messages[-1].content):
        raise _bad("the last message has no text")
    return messages


Messages = Annotated[list[MessageBody], AfterValidator(_asks_something)]


class Scope(BaseModel):
    """Who asks: the model, and whatever else must be equal for an entry to match."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    __pydantic_extra__: dict[Text, Annotated[Any, AfterValidator(_json)]]

    model: ModelName

    @property
    def keys(self) -> dict[str, ScopeValue]:
        """The keys besides the model."""
        return dict(self.__pydantic_extra__)


class QueryRequest(_Strict):
    scope: Scope
    query: Messages
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    cache_skip: bool | None = None
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] | None = None


class ChatInfo(_Strict):
    query: Messages
    answer: NonEmptyText
    ttl: Annotated[float, Field(gt=0), AfterValidator(_finite)] | None = None
    tags: list[Tag] | None = None
    sources: list[Tag] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_json)] | None = None


class InsertRequest(_Strict):
    scope: Scope
    chat_info: Annotated[list[ChatInfo], Field(min_length=1)]
    asked_at: Annotated[float, Field(ge=0), AfterValidator(_finite)] | None = None


class RemoveRequest(_Strict):
    scope: Scope
    remove_type: RemoveType
    id_list: list[int] | None = None
    tags: list[Tag] | None = None
    sources: list[Tag] | None = None
    older_than: Annotated[float, Field(gt=0), AfterValidator(_finite)] | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _names_what_to_remove(self) -> "RemoveRequest":
        name = NEEDED.get(self.remove_type)
        if name is not None and getattr(self, name) is None:
            raise _bad(_missing(name, name))
        if self.remove_type == "delete_by_scope" and not self.scope.keys:
            raise _bad("scope: expected a key besides model; truncate_by_model removes all of a model")
        return self


class RegisterRequest(_Strict):
    scope: Scope
    mode: Mode | None = None
    error_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    ttl: Annotated[float, Field(ge=0), AfterValidator(_finite)] | None = None
    max_size: Annotated[int, Field(ge=0, le=MAX_ENTRIES)] | None = None

    @property
    def policy(self) -> dict[str, Any]:
        """What is to be set for the model."""
        return self.model_dump(include={"mode", "error_rate", "ttl", "max_size"}, exclude_none=True)


class FeedbackRequest(_Strict):
    scope: Scope
    hit_id: int
    query: Messages
    correct: bool


Request = QueryRequest | InsertRequest | RemoveRequest | RegisterRequest | FeedbackRequest

REQUEST_CLASSES: dict[str, type[Request]] = {
    "query": QueryRequest,
    "insert": InsertRequest,
    "remove": RemoveRequest,
    "register": RegisterRequest,
    "feedback": FeedbackRequest,
}


# The types that are of one question and its answer.
ASKING = frozenset({"query", "insert", "feedback"})


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body, which may be encoded twice; BodyError otherwise."""
    try:
        value = _DECODER.decode(body.decode("utf-8-sig"))
        if isinstance(value, str):
            value = _DECODER.decode(value)
    except (ValueError, RecursionError) as exc:
        raise BodyError("the body is not valid JSON in UTF-8") from exc
    if not isinstance(value, dict):
        raise BodyError("the body is no JSON object")
    return value


def read_type(fields: dict[str, Any]) -> str:
    """Return the request's type; RequestTypeError if it is missing or unknown."""
    request_type = fields.get("type")
    if not isinstance(request_type, str) or request_type not in REQUEST_CLASSES:
        raise RequestTypeError(f"type exception, should one of {list(REQUEST_TYPES)}")
    return request_type


def parse(request_type: str, fields: dict[str, Any]) -> Request:
    """Return the typed request; FieldError names the first field that is missing or misshapen."""
    if request_type == "remove":
        remove_type = fields.get("remove_type")
        if isinstance(remove_type, str) and remove_type not in REMOVE_TYPES:
            raise RemoveTypeError(f"remove_type exception, should one of {list(REMOVE_TYPES)}")
    if request_type in ASKING:
        fields = _with_parameters(fields)
    try:
        return REQUEST_CLASSES[request_type].model_validate(fields)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        raise FieldError(_describe(problem["loc"], problem["type"], problem["msg"])) from exc


def _with_parameters(fields: dict[str, Any]) -> dict[str, Any]:
    """Put what changes a model's answer into the scope, where it must be equal."""
    scope = fields.get("scope")
    given = {name: fields[name] for name in PARAMETERS & fields.keys() if fields[name] not in (None, [], {})}
    if not given or not isinstance(scope, dict):
        return fields
    for name, value in given.items():
        if name in scope and scope[name] != value:
            raise FieldError(f"{name}: differs from scope.{name}")
    return {**fields, "scope": {**scope, **given}}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _describe(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    """Say which field is wrong and what was expected, such as ``chat_info[0].answer: …``."""
    path = leaf = ""
    for step in loc:
        if isinstance(step, int):
            path, leaf = f"{path}[{step}]", f"{leaf}[]"
        else:
            path, leaf = f"{path}.{step}", step
    path = path.removeprefix(".")
    if kind == CUSTOM or leaf not in EXPECTED:
        return f"{path}: {message}" if path else message
    if kind == "missing":
        return _missing(path, leaf)
    return f"{path}: expected {EXPECTED[leaf]}"


def _missing(path: str, leaf: str) -> str:
    return f"{path} is missing; expected {EXPECTED[leaf]}"
