"""Requests as they come in; whatever is wrong with them is raised here."""

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from modelcache.errors import BodyError, FieldError
from modelcache.processor.texts import encodable, not_blank

MAX_PROMPT_CHARS = 1024
MAX_ATTRIBUTES = 5
MAX_NAME_CHARS = 256
# LangChain's class puts the description of a model into one.
MAX_VALUE_CHARS = 16_384
MAX_RESULTS = 100


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS), AfterValidator(encodable)]
Value = Annotated[str, Field(min_length=1, max_length=MAX_VALUE_CHARS), AfterValidator(encodable)]
Attributes = Annotated[dict[Name, Value], Field(max_length=MAX_ATTRIBUTES)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARS), AfterValidator(not_blank)]


class _Body(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, populate_by_name=True)


class Search(_Body):
    prompt: Prompt
    similarity_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, alias="similarityThreshold"
    )
    search_strategies: list[Literal["exact", "semantic"]] = Field(["semantic"], alias="searchStrategies")
    attributes: Attributes = {}
    max_results: int = Field(1, ge=1, le=MAX_RESULTS, alias="maxResults")


class New(_Body):
    prompt: Prompt
    response: Annotated[str, Field(min_length=1), AfterValidator(encodable)]
    attributes: Attributes = {}
    ttl_millis: Annotated[int, Field(gt=0, lt=10**15)] | None = Field(None, alias="ttlMillis")


class Delete(_Body):
    attributes: Annotated[Attributes, Field(min_length=1)]


Asked = TypeVar("Asked", bound=_Body)


def read(kind: type[Asked], body: bytes) -> Asked:
    """Return the typed request. Raises BodyError, and FieldError, which names the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        if problem["type"] == "json_invalid":
            raise BodyError("the body is not valid JSON in UTF-8") from exc
        where = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise FieldError(f"{where}: {message}" if where else message) from exc
