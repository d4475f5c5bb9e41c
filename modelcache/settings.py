"""The service's settings: one table, read from an ini file and overridden by the environment.

Precedence, highest first: ``MODELCACHE_<NAME>`` in the environment, the file that
``MODELCACHE_CONFIG`` names, the profile shipped in ``modelcache/config``, the defaults below.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)

from modelcache.errors import ConfigError
from modelcache.own_settings import own_settings_of
from modelcache.settings_sources import (
    CONFIG_VARIABLE,
    ENV_PREFIX,
    check_environment,
    compile_patterns,
    parse_object,
    read_environment,
    read_ini,
    read_secrets,
    split_names,
)

CONFIG_DIR = Path(__file__).parent / "config"
MEGABYTE = 2**20

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Fraction = Annotated[float, Field(ge=0, le=1)]
JsonObject = Annotated[dict[str, int | float | str], BeforeValidator(parse_object)]
Patterns = Annotated[tuple[re.Pattern[str], ...], BeforeValidator(compile_patterns)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Own = TypeVar("Own")


class Settings(BaseModel):
    """Every setting with its type, default and help; frozen once read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: Literal["dev", "prepub", "prod"] = Field(
        "dev", description="which section of the ini files holds for the databases: `dev`, `prepub` or `prod`"
    )
    preset: Literal["", "reference"] = Field(
        "",
        description="`reference`: decide as CodeFuse-ModelCache does, unless another setting says otherwise: "
        "by the distance of the whole spliced dialogues alone, from 0.95 on. It is for comparing and "
        "migrating, and serves wrong answers",
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(5000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    keys_file: Path | None = Field(
        None,
        description="file of the keys that callers need, as `modelcache keys create` writes it; empty: "
        "anybody may ask, which is refused on an address that other machines reach",
    )
    allow_anonymous: bool = Field(
        False, description="let anybody ask who reaches the port, on any address, without keys"
    )
    threads: int = Field(16, ge=1, le=512, description="requests a process answers at the same time")
    workers: int = Field(
        2, ge=1, le=128, description="processes of flask4modelcache.py; the demo is always one"
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="a larger request body is refused with 413")
    read_timeout: Seconds = Field(
        60.0,
        description="seconds within which a request must have come in whole; a connection without one is "
        "closed after as many",
    )
    drain_timeout: Seconds = Field(
        30.0, description="seconds that requests in flight get to finish after SIGTERM"
    )
    data_dir: Path = Field(
        Path("modelcache_data"), description="folder of the SQLite file and the FAISS files"
    )

    embedder: str = Field(
        "auto",
        description="`e5`, `e5-untaught`, `onnx`, `text2vec`, `sentence_transformers`, `remote`, or `auto`: "
        "text2vec where its weights are in place, otherwise e5",
    )
    text2vec_path: Path = Field(
        Path("model/text2vec-base-chinese"), description="folder of the BERT weights of `text2vec`"
    )
    e5_path: Path | None = Field(
        None,
        description="`e5`: folder that `python -m modelcache train` or `build-e5` wrote; empty: the "
        "shipped one",
    )
    onnx_path: Path = Field(
        Path("model/onnx"),
        description="`onnx`: folder of an ONNX encoder with its tokenizer.json and config.json",
    )
    onnx_pooling: Literal["", "mean", "cls", "last"] = Field(
        "",
        description="`onnx`: how token states become one vector: `mean`, `cls` or `last`; empty: as the "
        "folder's 1_Pooling/config.json says, otherwise `mean`",
    )
    onnx_prefix: str = Field(
        "", description="`onnx`: written before each text, for models that want one, for example `query: `"
    )
    sentence_transformers_path: Path = Field(
        Path("model/sentence-transformers"),
        description="`sentence_transformers`: folder of the model, with its modules.json",
    )
    embedding_threads: int = Field(
        0,
        ge=0,
        le=64,
        description="`e5`, `onnx`: threads that share a text where cores are free; as many texts as there "
        "are cores are computed at a time; 0: two, or one on a single core",
    )
    remote_url: str = Field(
        "", description="base URL of the embeddings server of `remote`, for example http://127.0.0.1:8000"
    )
    remote_api: Literal["openai", "ollama"] = Field(
        "openai", description="`openai` calls /v1/embeddings, `ollama` calls /api/embed"
    )
    remote_model: str = Field("", description="model name sent to the embeddings server")
    remote_api_key: SecretStr = Field(
        SecretStr(""), description="bearer token for the embeddings server; never logged"
    )
    remote_timeout: Seconds = Field(5.0, description="seconds one call to it may take")
    remote_retries: int = Field(2, ge=0, le=10, description="further tries after a failed call")
    remote_batch: int = Field(
        128,
        ge=1,
        le=2048,
        description="texts sent to it at once, at most; lowered by itself where the server takes fewer",
    )
    max_embed_chars: int = Field(
        2048,
        ge=1,
        description="a question longer than this is answered by an exact match or not at all",
    )

    scalar_store: str = Field("sqlite", description="where the rows are: `sqlite`, `mysql` or `oceanbase`")
    vector_store: str = Field(
        "faiss", description="where the vectors are: `faiss`, `milvus`, `redis` or `chroma`"
    )

    faiss_index_from: int = Field(
        4_000,
        ge=100,
        description="`faiss`: a partition with fewer entries is compared entry by entry, a larger one "
        "through an index that finds over 99 % of the nearest",
    )
    faiss_memory_mb: int = Field(
        2048,
        ge=1,
        description="`faiss`: over so many megabytes of vectors, the least recently used models are dropped "
        "from memory and read again when they are used",
    )
    exact_memory_mb: int = Field(
        64,
        ge=0,
        description="megabytes of entries kept in memory for exact hits, where one process has the rows "
        "and vectors for itself (SQLite with FAISS); 0: none",
    )
    embedding_memory_mb: int = Field(
        32, ge=0, description="megabytes of recent texts kept in memory with their embeddings; 0: none"
    )
    store_timeout: Seconds = Field(
        2.0,
        description="seconds that a request waits for a database, all its calls together; long work, such "
        "as a large truncate, has them for each step",
    )
    mysql_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address of the MySQL or OceanBase server, or the path of its Unix socket",
    )
    mysql_port: int = Field(3306, ge=1, le=65535, description="its port; OceanBase listens on 2881")
    mysql_user: str = Field(
        "modelcache", min_length=1, description="its user; at OceanBase with the tenant: `user@tenant`"
    )
    mysql_password: SecretStr = Field(SecretStr(""), description="the user's password; never logged")
    mysql_database: str = Field(
        "modelcache", min_length=1, description="database of the tables; it must exist"
    )
    mysql_tls: bool = Field(
        False, description="encrypt the connection, and refuse a server whose certificate is not valid"
    )
    mysql_tls_ca: Path | None = Field(
        None, description="file of the authorities that sign such certificates; empty: the system's"
    )
    mysql_pool_size: int = Field(
        16, ge=1, le=1024, description="connections of one process; more work than that waits"
    )
    mysql_migrate: bool = Field(
        True,
        description="create and migrate the tables at the start; otherwise an operator runs "
        "`reference_doc/create_table.sql`",
    )

    milvus_uri: str = Field(
        "http://127.0.0.1:19530",
        description="address of Milvus, https:// for TLS; a file name that ends with .db is Milvus Lite",
    )
    milvus_token: SecretStr = Field(
        SecretStr(""), description="`user:password` or token for Milvus; never logged"
    )
    milvus_database: str = Field("", description="database in Milvus; empty: its default")
    milvus_tls_ca: Path | None = Field(
        None, description="file with the certificate that signs Milvus' own; empty: the system's"
    )
    milvus_index: Literal["HNSW", "AUTOINDEX", "IVF_FLAT", "IVF_SQ8", "FLAT"] = Field(
        "HNSW", description="index of new collections: `HNSW`, `AUTOINDEX`, `IVF_FLAT`, `IVF_SQ8` or `FLAT`"
    )
    milvus_index_params: JsonObject = Field(
        {}, description='its parameters as JSON, for example {"M": 16, "efConstruction": 200}'
    )
    milvus_search_params: JsonObject = Field(
        {}, description='parameters of a search as JSON, for example {"ef": 128} or {"nprobe": 64}'
    )

    similarity_threshold: Fraction | None = Field(
        None,
        description="from which confidence on (under `cosine` and `distance`: from which rank on) a cached "
        "question counts as the same; empty: the calibrated value",
    )
    similarity_threshold_long: Fraction | None = Field(
        None, description="the same for texts over `long_text_chars`"
    )
    threshold_floor: Fraction = Field(
        0.0, description="a query that sets a `threshold` under this is refused"
    )
    long_text_chars: int = Field(256, ge=1, description="a text with more characters is long")
    top_k: int = Field(5, ge=1, le=100, description="nearest entries looked at for one query")
    evaluation: str = Field(
        "confidence",
        description="what thresholds are on: `confidence`, a calibrated probability that the answer may be "
        "reused, or `cosine`, `distance` or `exact_match`",
    )
    calibration: Path | None = Field(
        None,
        description="`confidence`: file that `python -m modelcache calibrate --fit` wrote; empty: what is "
        "shipped for the embedder",
    )
    reader_path: Path | None = Field(
        None,
        description="`confidence`: folder of the model that reads both questions, as `python -m modelcache "
        "train` writes it; empty: the one that is shipped",
    )
    read_candidates: int = Field(
        2, ge=1, le=100, description="`confidence`: of the nearest entries, so many at most are read"
    )
    distance_max: float = Field(
        4.0, gt=0, le=4, description="`distance`: the largest squared L2 distance, which ranks 0"
    )
    distance_positive: bool = Field(
        False, description="`distance`: rank by the inner product, which grows with likeness"
    )
    post_process: Literal["first", "random_one"] = Field(
        "first", description="which accepted entry answers: the nearest (`first`) or `random_one`"
    )
    rerank_path: Path | None = Field(
        None,
        description="folder of a cross-encoder (a `transformers` sequence-classification model of one or two "
        "labels), which reads the question beside each near candidate and has the last word; empty: none",
    )
    rerank_threshold: Fraction = Field(
        0.5, description="from which of its scores (0 to 1) on a candidate may answer; the best one does"
    )
    rerank_budget_ms: float = Field(
        50.0,
        gt=0,
        le=60_000,
        description="milliseconds a query waits for it; after that it is answered without",
    )
    slot_guard: bool = Field(
        True,
        description="refuse a question of like meaning where a number, a name, a negation or another slot "
        "differs",
    )
    slot_tables: Path | None = Field(
        None,
        description="file of further slot tables, in the format of those in `modelcache/slots`, which it "
        "adds to",
    )
    mode: Literal["off", "shadow", "serve", "verified"] = Field(
        "serve",
        description="`serve` answers over the threshold; `verified` while the share of wrong answers keeps "
        "within `error_rate`; `shadow` looks up and answers nothing, to report on; `off` does not look up. "
        "`register` sets it for one model",
    )
    error_rate: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="`verified`: the most of all requests that may be answered wrongly, as a share",
    )
    lookup_seconds: Seconds = Field(
        600.0,
        description="`shadow`, `verified`: seconds within which the insert that follows a miss is compared "
        "with the entry that might have answered",
    )
    answers_same: Fraction | None = Field(
        None,
        description="from which cosine on two answers count as the same; empty: the embedder's value",
    )
    answers_different: Fraction | None = Field(
        None,
        description="under which cosine two answers count as different; in between nothing is learned; "
        "empty: the embedder's value",
    )
    feedback_retire_share: Fraction = Field(
        0.5,
        description="an entry that feedback called wrong for three questions is retired when these are at "
        "least this share of the questions it was judged for",
    )
    system_prompt: Literal["partition", "splice"] = Field(
        "partition",
        description="`partition`: only entries under an equal system prompt are compared; "
        "`splice`: it is part of the compared text",
    )
    system_prompt_ignore: Patterns = Field(
        (),
        description="regular expressions, one a line or as a JSON list: what they match in a system "
        "prompt does not count, for example a clock. What they match must not change an answer",
    )
    temperature_skips: bool = Field(
        False,
        description="let the `temperature` of a query set the chance that it is not looked up: 0 always "
        "looks, 1 every other time, 2 never",
    )
    conversation: Literal["meaning", "exact", "splice"] = Field(
        "meaning",
        description="`meaning`: each earlier turn is compared by meaning, as the last is; `exact`: they must "
        "be equal; `splice`: all turns are compared as one text",
    )
    context_chars: int = Field(
        512,
        ge=0,
        le=4096,
        description="`meaning`: so many characters of the latest earlier turns are embedded; those that do "
        "not fit, or are over `long_text_chars`, are compared by their texts",
    )
    context_threshold: Fraction | None = Field(
        None,
        description="`meaning`: from which similarity on two earlier turns count as the same; empty: the "
        "embedder's calibrated values, the lower of which is for questions that got the same reply",
    )
    model_blacklist: Names = Field(
        (), description="models that are neither answered nor stored, separated by commas"
    )

    upstream_url: str = Field(
        "",
        description="what `base_url` of OpenAI clients was until now, for example https://api.openai.com/v1: "
        "requests to `/v1/` are answered from the cache, and from there otherwise; empty: no gateway",
    )
    upstream_api_key: SecretStr = Field(
        SecretStr(""),
        description="key sent there in place of the caller's; empty: the caller's is sent on; never logged",
    )
    upstream_timeout: Seconds = Field(
        600.0, description="seconds that the server there may take to answer, and between parts of a stream"
    )
    lookup_deadline_ms: float = Field(
        150.0,
        gt=0,
        le=60_000,
        description="milliseconds that the gateway waits for the cache; after that the request goes on to "
        "the server behind it",
    )
    gateway_tenant: str = Field(
        "key",
        pattern=r"^(key|shared|header:[A-Za-z0-9-]+)$",
        description="whose entries a request may use: `key`, those of callers with the same key; "
        "`header:NAME`, of those with the same value of this header, which the caller must not be able to "
        "choose; `shared`, everybody's",
    )
    gateway_ttl: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="seconds for which the gateway keeps an answer; a request may ask for less; empty: "
        "without end",
    )
    gateway_threads: int = Field(
        64,
        ge=1,
        le=1024,
        description="requests of a process that wait for the server behind the gateway at the same time, "
        "live streams among them; more get 429",
    )
    gateway_max_body_bytes: int = Field(
        33_554_432, ge=1024, description="a larger request body to the gateway is refused with 413"
    )
    gateway_abandoned: Literal["finish", "cut"] = Field(
        "finish",
        description="what becomes of a stream whose caller goes away: `finish` reads and keeps the answer, "
        "`cut` drops it",
    )
    hit_usage: Literal["original", "zero"] = Field(
        "original",
        description="`usage` of an answer from the gateway's cache: what it cost when it was made "
        "(`original`), or `zero`",
    )
    single_flight_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        30.0,
        description="seconds that a request waits for the answer to an equal one that is under way, in this "
        "process or another; after that it goes on by itself; 0: does not wait",
    )

    langcache: bool = Field(
        False,
        description="serve the REST API of Redis LangCache under `/v1/caches/`; callers with different keys "
        "share nothing",
    )

    gptcache_model: str = Field(
        "",
        max_length=256,
        description="model whose entries `/put`, `/get` and `/flush` are about, the routes of GPTCache's "
        "server, which tell no callers apart; empty: no such routes",
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        min_length=1,
        description="address of the `redis` server, without a password; rediss:// for TLS",
    )
    redis_password: SecretStr = Field(
        SecretStr(""), description="password for the `redis` server; never logged"
    )
    redis_index: Literal["FLAT", "HNSW"] = Field(
        "FLAT",
        description="kind of a new `redis` collection: `FLAT` compares with every vector of the "
        "partition, `HNSW` is faster from about 100,000 and approximate",
    )
    redis_hnsw_m: int = Field(16, ge=2, le=512, description="`HNSW`: links of a vector")
    redis_hnsw_ef_construction: int = Field(
        200, ge=1, le=4096, description="`HNSW`: candidates looked at when a vector is added"
    )
    redis_hnsw_ef_runtime: int = Field(
        100, ge=1, le=4096, description="`HNSW`: candidates looked at in a search"
    )
    chroma_url: str = Field(
        "",
        description="address of the `chroma` server, for example http://127.0.0.1:8000; empty: in this "
        "process, in `data_dir`",
    )

    metrics: bool = Field(True, description="serve `/metrics` for Prometheus")
    statistics_days: int = Field(
        400,
        ge=0,
        le=3660,
        description="for so many days `/admin/stats` knows what happened on each; 0: nothing is counted "
        "for it",
    )
    prices_file: Path | None = Field(
        None,
        description="a TOML file of prices of your own, in US dollars a million tokens, for what hits have "
        "saved",
    )
    tracing: bool = Field(
        False,
        description="send traces by OpenTelemetry; OTEL_EXPORTER_OTLP_ENDPOINT and its other variables say "
        "where to, and which",
    )
    access_log: Literal["", "json"] = Field(
        "", description="`json`: a line on stdout for every request; empty: none"
    )
    access_log_questions: bool = Field(
        False, description="write what was asked into these lines, too, which holds whatever users type"
    )
    query_log: bool = Field(True, description="keep a row for every query in modelcache_query_log")
    query_log_days: float = Field(
        30.0, gt=0, le=36_500, description="after how many days such a row is deleted"
    )
    background_queue_size: int = Field(
        10_000, ge=1, description="log lines and hit counts that may wait; more are dropped and counted"
    )
    breaker_failures: int = Field(
        5, ge=1, description="after so many failures in a row a database is left alone"
    )
    breaker_seconds: Seconds = Field(
        5.0, description="seconds before such a database is tried again; requests fail at once meanwhile"
    )
    max_size: int = Field(
        0,
        ge=0,
        description="entries a model may have before some are evicted; 0: no limit. `register` sets "
        "it for one model",
    )
    default_ttl: float | None = Field(
        None,
        gt=0,
        description="seconds that an entry answers whose insert names no `ttl`; empty: for ever. `register` "
        "sets it for one model",
    )
    allow_truncate_all: bool = Field(
        False, description="let `remove` empty all models at once, with `truncate_all`"
    )
    clean_size: int = Field(100, ge=1, description="entries evicted at once")
    eviction_policy: Literal["LRU", "LFU", "FIFO", "RR", "ARC", "W_TINYLFU"] = Field(
        "LRU", description="which entries are evicted: `LRU`, `LFU`, `FIFO`, `RR`, `ARC` or `W_TINYLFU`"
    )
    eviction_book: Literal["memory", "redis", "rows"] = Field(
        "memory",
        description="where the order of eviction is kept: `memory`, for one process and every policy; "
        "`redis`, or `rows` (the rows themselves), for many processes and `LRU`, `LFU`, `FIFO`, `RR`",
    )
    sweep_interval: Seconds = Field(
        5.0, description="seconds between looks for removed and expired entries to sweep"
    )
    sweep_rows: int = Field(
        5000, ge=0, description="a model is swept when more of its entries than this are removed"
    )
    sweep_share: Fraction = Field(0.1, description="or when more than this share of its entries is removed")
    compact_every: int = Field(
        5, ge=1, description="after how many sweeps of a model its vector index is compacted"
    )
    reconcile_interval: Seconds = Field(
        600.0, description="seconds between checks that the vectors in a server agree with the rows"
    )

    _own: tuple[object, ...] = PrivateAttr(())

    def own(self, shape: type[Own]) -> Own:
        """Return the settings that a backend of another package declared as this dataclass.

        ConfigError where the backend was not chosen, so that they were not read.
        """
        for one in self._own:
            if isinstance(one, shape):
                return one
        raise ConfigError(f"the settings {shape.__qualname__} were not read: no chosen backend declares them")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "reference": {
        "evaluation": "distance",
        "similarity_threshold": 0.95,
        "similarity_threshold_long": 0.95,
        "conversation": "splice",
        "system_prompt": "splice",
        "slot_guard": False,
    }
}
ENVIRONMENTS: tuple[str, ...] = get_args(Settings.model_fields["env"].annotation)
SECRETS = frozenset(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)


def load_settings(
    profile: str = "default",
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read ``config/<profile>.ini``, then ``MODELCACHE_CONFIG``, then ``MODELCACHE_*``, then overrides.

    Raises ConfigError, in one sentence, for an unknown name or a bad value.
    """
    environ = os.environ if environ is None else environ
    from_environment = read_environment(environ)
    files = [CONFIG_DIR / f"{profile}.ini"]
    if environ.get(CONFIG_VARIABLE):
        files.append(Path(environ[CONFIG_VARIABLE]))
    values: dict[str, Any] = {}
    for path in files:
        values |= read_ini(path, from_environment.get("env") or None, ENVIRONMENTS)
    values |= from_environment
    values |= overrides or {}
    own = own_settings_of(values, Settings.model_fields)
    secrets = SECRETS.union(*(one.secrets for one in own))
    known = {*Settings.model_fields}.union(*(one.names for one in own))
    check_environment(from_environment, known, secrets)
    return make_settings(read_secrets(values, secrets))


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Validate plain values; an empty string means the default."""
    given = {name: value for name, value in values.items() if value != ""}
    given = {**PRESETS.get(given.get("preset", ""), {}), **given}
    own = own_settings_of(given, Settings.model_fields)
    theirs = frozenset[str]().union(*(one.names for one in own))
    try:
        settings = Settings.model_validate({name: given[name] for name in given if name not in theirs})
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False)[0]
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            raise ConfigError(f"unknown setting {name!r}") from exc
        shown = "" if name in SECRETS else f", not {problem['input']!r}"
        raise ConfigError(f"setting {name!r}: {problem['msg']}{shown}") from exc
    settings._own = tuple(one.read(given) for one in own)
    return settings


def settings_table() -> list[tuple[str, str, str]]:
    """Return (environment variable, default, help) for each setting, in order."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        if isinstance(default, dict):
            default = json.dumps(default) if default else None
        shown = "" if default is None else str(default)
        rows.append((ENV_PREFIX + name.upper(), shown, field.description or ""))
    return rows


def print_settings_table() -> None:
    """Print the settings as a Markdown table: what docs/settings.md shows."""
    print("| variable | default | meaning |\n| --- | --- | --- |")
    for variable, default, meaning in settings_table():
        print(f"| `{variable}` | {f'`{default}`' if default else ''} | {meaning} |")


if __name__ == "__main__":
    print_settings_table()
