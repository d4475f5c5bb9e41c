"""Settings: where they come from, which wins, and that a wrong one stops the start with a sentence."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import SecretStr, ValidationError

from modelcache.app import create_app, get_service
from modelcache.backends import EMBEDDERS, EVALUATIONS, SCALAR_STORES, VECTOR_STORES
from modelcache.embedding.base import Embedder
from modelcache.embedding.factory import get_embedder
from modelcache.errors import ConfigError
from modelcache.manager.factory import get_scalar_store, get_vector_store
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.vector_data.base import VectorStore
from modelcache.registry import Registry
from modelcache.settings import CONFIG_DIR, Settings, load_settings, make_settings, settings_table
from modelcache.similarity_evaluation.base import SimilarityEvaluation
from modelcache.similarity_evaluation.factory import get_evaluation
from modelcache.testing.hash_embedder import HashEmbedder
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import CacheClient
from tests.support.running import ROOT

SECRETS = [name for name, kind in get_type_hints(Settings).items() if kind is SecretStr]
FLOATS = [name for name, kind in get_type_hints(Settings).items() if kind is float]


def refusal(make: Callable[[], object]) -> str:
    """Return the sentence that refuses a start."""
    with pytest.raises(ConfigError) as caught:
        make()
    sentence = str(caught.value)
    assert sentence
    assert "\n" not in sentence
    return sentence


def is_refused(name: str, value: str) -> bool:
    try:
        make_settings({name: value})
    except ConfigError:
        return True
    return False


def write_ini(folder: Path, text: str) -> dict[str, str]:
    """Write a configuration file; the environment that names it is returned."""
    path = folder / "own.ini"
    path.write_text(text, encoding="utf-8")
    return {"MODELCACHE_CONFIG": str(path)}


# The table.


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_help(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description == description.strip()


def test_the_table_lists_every_setting_once_with_its_variable_and_help() -> None:
    listed = [(row[0], row[-1]) for row in settings_table()]
    assert listed == [
        (f"MODELCACHE_{name.upper()}", field.description) for name, field in Settings.model_fields.items()
    ]


def test_no_setting_is_required() -> None:
    assert make_settings({}) == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        make_settings({}).port = 1  # type: ignore[misc]


@pytest.mark.parametrize("profile", sorted(path.stem for path in CONFIG_DIR.glob("*.ini")))
def test_shipped_profiles_are_valid(profile: str) -> None:
    load_settings(profile, {})


def test_demo_profile_needs_nothing_but_the_light_set() -> None:
    demo = load_settings("demo", {})
    assert (demo.embedder, demo.scalar_store, demo.vector_store) == ("e5", "sqlite", "faiss")


# Where values come from.


def test_later_sources_win(tmp_path: Path) -> None:
    shipped = load_settings("demo", {})
    config = write_ini(tmp_path, "[modelcache]\nembedder = remote\ntop_k = 7\nport = 6000\n")
    from_file = load_settings("demo", config)
    from_environment = load_settings("demo", {**config, "MODELCACHE_TOP_K": "8", "MODELCACHE_PORT": "6001"})
    overridden = load_settings("demo", {**config, "MODELCACHE_PORT": "6001"}, {"port": 6002})
    assert (shipped.embedder, shipped.top_k, shipped.port) == ("e5", 5, 5000)
    assert (from_file.embedder, from_file.top_k, from_file.port) == ("remote", 7, 6000)
    assert from_environment.embedder == "remote"
    assert (from_environment.top_k, from_environment.port) == (8, 6001)
    assert (overridden.top_k, overridden.port) == (7, 6002)
    assert overridden.vector_store == "faiss"


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCACHE_PORT", "6001")
    assert load_settings("demo").port == 6001


def test_other_variables_are_left_alone() -> None:
    others = {"PORT": "1", "HOME": "/", "MODEL": "x", "MODELCACHE_BENCH_DATA": "/data"}
    assert load_settings("default", others) == load_settings("default", {})


def test_empty_value_means_the_default(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "[modelcache]\nport = 6000\ntop_k =\nhost =\nsimilarity_threshold =\n")
    from_file = load_settings("default", config)
    assert (from_file.port, from_file.top_k, from_file.host) == (6000, 5, "127.0.0.1")
    assert from_file.similarity_threshold is None
    assert load_settings("default", {**config, "MODELCACHE_PORT": ""}).port == 5000
    assert make_settings({"port": "", "data_dir": "", "model_blacklist": ""}) == Settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_may_be_empty_in_the_environment(name: str) -> None:
    settings = load_settings("default", {f"MODELCACHE_{name.upper()}": ""})
    assert getattr(settings, name) == getattr(Settings(), name)


def test_names_in_a_file_may_be_upper_case_and_values_hold_percent_signs(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "[modelcache]\n; a comment\nREMOTE_MODEL = 100%(x)s\n")
    assert load_settings("default", config).remote_model == "100%(x)s"


def test_file_without_settings_changes_nothing(tmp_path: Path) -> None:
    assert load_settings("demo", write_ini(tmp_path, "; nothing yet\n")) == load_settings("demo", {})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("query_log", "false", False),
        ("query_log", "0", False),
        ("query_log", "yes", True),
        ("similarity_threshold", "0.93", 0.93),
        ("similarity_threshold", "0", 0.0),
        ("data_dir", "/data/缓存", Path("/data/缓存")),
        ("sweep_interval", "0.5", 0.5),
        ("model_blacklist", "a", ("a",)),
        ("model_blacklist", "a,b", ("a", "b")),
        ("model_blacklist", " a , b c ,模型,", ("a", "b c", "模型")),
        ("model_blacklist", " , ", ()),
        ("model_blacklist", '["a, b", " c ", "模型"]', ("a, b", " c ", "模型")),
        ("model_blacklist", "[]", ()),
    ],
)
def test_values_are_read_from_text(name: str, text: str, value: Any) -> None:
    settings = load_settings("default", {f"MODELCACHE_{name.upper()}": text})
    assert getattr(settings, name) == value


# Refused with a sentence.


def test_unknown_name_in_a_file_is_refused(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "[modelcache]\ncolour = red\n")
    assert "'colour'" in refusal(lambda: load_settings("default", config))


def test_unknown_name_in_the_environment_is_refused() -> None:
    environ = {"MODELCACHE_COLOUR": "red"}
    assert "MODELCACHE_COLOUR" in refusal(lambda: load_settings("default", environ))


def test_unknown_name_in_the_environment_is_refused_though_empty() -> None:
    assert "MODELCACHE_COLOUR" in refusal(lambda: load_settings("default", {"MODELCACHE_COLOUR": ""}))


@pytest.mark.parametrize("make", [make_settings, create_app])
def test_unknown_name_among_values_is_refused(make: Callable[[Any], object]) -> None:
    assert "'colour'" in refusal(lambda: make({"colour": "red"}))


BAD_VALUES: dict[str, list[Any]] = {
    "port": ["many", "-1", "65536", "1.5", None],
    "threads": ["0", "-1", "all"],
    "max_body_bytes": ["0", "1 MB"],
    "drain_timeout": ["0", "-1", "soon", "nan"],
    "remote_api": ["grpc", "OpenAI"],
    "remote_retries": ["-1", "11"],
    "max_embed_chars": ["0"],
    "similarity_threshold": ["-0.1", "1.1", "nan", "inf", "high"],
    "similarity_threshold_long": ["2"],
    "top_k": ["0", "101"],
    "distance_max": ["0", "-4"],
    "distance_positive": ["perhaps"],
    "post_process": ["best"],
    "system_prompt": ["ignore"],
    "conversation": ["fuzzy"],
    "context_chars": ["-1", "4097", "many"],
    "context_threshold": ["-0.1", "1.1", "nan"],
    "rerank_threshold": ["2", "nan"],
    "rerank_budget_ms": ["0", "60001", "nan"],
    "query_log": ["maybe", "2"],
    "query_log_days": ["0", "-1"],
    "background_queue_size": ["0"],
    "sweep_interval": ["0", "-1", "nan"],
    "redis_index": ["flat", "IVF"],
    "redis_hnsw_m": ["1", "513"],
    "redis_hnsw_ef_construction": ["0"],
    "redis_hnsw_ef_runtime": ["0"],
    "store_timeout": ["0", "-1", "86401", "nan"],
    "milvus_index": ["hnsw", "DISKANN"],
    "model_blacklist": ["[", '["a"', "[1]", '[["a"]]', "[null]", 5],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_VALUES.items() for value in values]
)
def test_bad_value_is_refused_and_shown(name: str, value: Any) -> None:
    sentence = refusal(lambda: make_settings({name: value}))
    assert f"'{name}'" in sentence
    if not isinstance(value, str) or not value.startswith("["):
        assert repr(value) in sentence


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", ["inf", "1e999"])
def test_number_without_end_is_refused(name: str, value: str) -> None:
    assert f"'{name}'" in refusal(lambda: make_settings({name: value}))


@pytest.mark.parametrize("days", ["36500", "1000000", "1e9", "1e300"])
def test_query_log_days_are_refused_or_can_be_kept(
    make_app: AppFactory, caplog: pytest.LogCaptureFixture, days: str
) -> None:
    if is_refused("query_log_days", days):
        return
    app = make_app(query_log_days=days, sweep_interval=0.01)
    client, scalars = CacheClient(app.test_client()), get_service(app).cache.data_manager.scalars
    with caplog.at_level(logging.ERROR):
        # Rows are purged before the log is trimmed: after a second sweep, the first has trimmed.
        for _ in range(2):
            client.insert(("q", "a"))
            client.remove("truncate_by_model")
            wait_until(lambda: not scalars.dead_counts(), "a sweep")
    assert not caplog.records


def test_bad_value_of_a_later_source_is_refused(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "[modelcache]\nport = many\n")
    assert "'many'" in refusal(lambda: load_settings("default", config))
    assert load_settings("default", {**config, "MODELCACHE_PORT": "1"}).port == 1


@pytest.mark.parametrize(
    "text",
    [
        "port = 1\n",
        "[modelcache\nport = 1\n",
        "[modelcache]\nport\n",
        "[modelcache]\nport = 1\nport = 2\n",
        "[modelcache]\n[modelcache]\n",
    ],
    ids=["no section", "broken section", "no value", "twice", "section twice"],
)
def test_file_that_is_no_ini_is_refused_and_named(tmp_path: Path, text: str) -> None:
    config = write_ini(tmp_path, text)
    assert "own.ini" in refusal(lambda: load_settings("default", config))


def test_unknown_section_is_refused_and_named(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "[modelcache]\nport = 1\n[server]\nport = 2\n")
    sentence = refusal(lambda: load_settings("default", config))
    assert "own.ini" in sentence
    assert "[server]" in sentence


def test_file_in_another_encoding_is_refused_and_named(tmp_path: Path) -> None:
    config = write_ini(tmp_path, "")
    Path(config["MODELCACHE_CONFIG"]).write_bytes("[modelcache]\nhost = 模型\n".encode("gb18030"))
    assert "own.ini" in refusal(lambda: load_settings("default", config))


@pytest.mark.parametrize("place", ["absent.ini", "."])
def test_file_that_cannot_be_read_is_refused_and_named(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / place)
    assert path in refusal(lambda: load_settings("default", {"MODELCACHE_CONFIG": path}))


def test_unknown_profile_is_refused() -> None:
    assert "absent.ini" in refusal(lambda: load_settings("absent", {}))


def test_refused_settings_leave_no_folder_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    refusal(lambda: create_app({"data_dir": data_dir, "port": "many"}, embedder=HashEmbedder()))
    refusal(lambda: create_app({"data_dir": data_dir, "scalar_store": "paper"}, embedder=HashEmbedder()))
    assert not data_dir.exists()


@pytest.mark.process
@pytest.mark.parametrize(
    ("variable", "value"), [("MODELCACHE_COLOUR", "red"), ("MODELCACHE_EMBEDDER", "psychic")]
)
def test_service_says_in_one_line_why_it_cannot_start(tmp_path: Path, variable: str, value: str) -> None:
    own = {variable: value, "MODELCACHE_PORT": "0", "MODELCACHE_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.run(
        [sys.executable, "flask4modelcache_demo.py"],
        cwd=ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith("modelcache cannot start: unknown")
    assert "Traceback" not in process.stderr


# Secrets.


def test_there_are_secrets_to_keep() -> None:
    assert {"remote_api_key", "redis_password"} <= set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_never_shown(name: str) -> None:
    settings = make_settings({name: "hush-hush"})
    assert getattr(settings, name).get_secret_value() == "hush-hush"
    for shown in (repr(settings), str(settings), f"{settings.model_dump()}", settings.model_dump_json()):
        assert "hush-hush" not in shown


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [["hush-hush"], {"key": "hush-hush"}, b"hush-hush\xff"])
def test_bad_secret_is_refused_without_showing_it(name: str, value: Any) -> None:
    sentence = refusal(lambda: make_settings({name: value}))
    assert f"'{name}'" in sentence
    assert "hush" not in sentence


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_not_shown_when_another_setting_is_bad(name: str) -> None:
    environ = {f"MODELCACHE_{name.upper()}": "hush-hush", "MODELCACHE_PORT": "many"}
    with pytest.raises(ConfigError) as caught:
        load_settings("default", environ)
    assert "hush" not in f"{caught.value!r} {caught.value.__cause__}"


# Backends by name.

REGISTRIES: list[tuple[Registry[Any], type[Any]]] = [
    (EMBEDDERS, Embedder),
    (SCALAR_STORES, ScalarStore),
    (VECTOR_STORES, VectorStore),
    (EVALUATIONS, SimilarityEvaluation),
]


@pytest.mark.parametrize(
    ("registry", "name", "base"),
    [
        pytest.param(registry, name, base, id=f"{registry.kind}-{name}")
        for registry, base in REGISTRIES
        for name in registry.targets
    ],
)
def test_every_backend_named_can_be_imported(registry: Registry[Any], name: str, base: type[Any]) -> None:
    try:
        backend = registry.load(name)
    except ConfigError as exc:
        missing = getattr(exc.__cause__, "name", None) or "modelcache"
        if missing.partition(".")[0] == "modelcache":
            raise
        pytest.skip(str(exc))
    assert issubclass(backend, base)
    assert callable(backend.from_settings)


def vectors_of_two(settings: Settings) -> VectorStore:
    return get_vector_store(settings, dimension=2)


@pytest.mark.parametrize(
    ("registry", "setting", "get"),
    [
        (EMBEDDERS, "embedder", get_embedder),
        (SCALAR_STORES, "scalar_store", get_scalar_store),
        (VECTOR_STORES, "vector_store", vectors_of_two),
        (EVALUATIONS, "evaluation", get_evaluation),
    ],
    ids=["embedder", "scalar_store", "vector_store", "evaluation"],
)
@pytest.mark.parametrize("name", ["paper", "E5", "SQLITE", "s", " "])
def test_unknown_backend_is_refused_with_the_known_ones(
    registry: Registry[Any], setting: str, get: Callable[[Settings], object], name: str
) -> None:
    sentence = refusal(lambda: get(make_settings({setting: name})))
    assert repr(name) in sentence
    for known in registry.targets:
        assert known in sentence


def test_unknown_embedder_is_told_of_auto_too() -> None:
    assert "auto" in refusal(lambda: get_embedder(make_settings({"embedder": "paper"})))


def test_help_of_a_backend_setting_names_every_backend() -> None:
    named: dict[str, Registry[Any]] = {
        "embedder": EMBEDDERS,
        "scalar_store": SCALAR_STORES,
        "vector_store": VECTOR_STORES,
        "evaluation": EVALUATIONS,
    }
    for setting, registry in named.items():
        description = Settings.model_fields[setting].description or ""
        assert [name for name in registry.targets if f"`{name}`" not in description] == []


def test_missing_driver_is_named() -> None:
    registry = Registry[Any]("store", {"paper": "no_such_driver.paper:PaperStore"})
    sentence = refusal(lambda: registry.load("paper"))
    assert "'paper'" in sentence
    assert "'no_such_driver'" in sentence


INI_OF_ENVIRONMENTS = """
[modelcache]
port = 1
threads = 3
[modelcache:dev]
port = 2
[modelcache:prod]
port = 3
host = prod.internal
"""


@pytest.mark.parametrize(
    ("environ", "port", "host"),
    [
        ({}, 2, "127.0.0.1"),
        ({"MODELCACHE_ENV": "dev"}, 2, "127.0.0.1"),
        ({"MODELCACHE_ENV": "prepub"}, 1, "127.0.0.1"),
        ({"MODELCACHE_ENV": "prod"}, 3, "prod.internal"),
        ({"MODELCACHE_ENV": "prod", "MODELCACHE_PORT": "4"}, 4, "prod.internal"),
    ],
)
def test_the_environment_chooses_its_section(
    tmp_path: Path, environ: dict[str, str], port: int, host: str
) -> None:
    path = tmp_path / "settings.ini"
    path.write_text(INI_OF_ENVIRONMENTS, encoding="utf-8")
    settings = load_settings("demo", environ | {"MODELCACHE_CONFIG": str(path)})
    assert (settings.port, settings.host, settings.threads) == (port, host, 3)


def test_the_file_may_name_its_environment(tmp_path: Path) -> None:
    path = tmp_path / "settings.ini"
    path.write_text(INI_OF_ENVIRONMENTS.replace("threads = 3", "env = prod"), encoding="utf-8")
    assert load_settings("demo", {"MODELCACHE_CONFIG": str(path)}).port == 3


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("s3cret\n", encoding="utf-8")
    settings = load_settings("demo", {"MODELCACHE_REMOTE_API_KEY_FILE": str(path)})
    assert settings.remote_api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_a_secret_given_twice_or_in_no_file_is_refused_without_telling_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    both = {"MODELCACHE_REMOTE_API_KEY_FILE": str(path), "MODELCACHE_REMOTE_API_KEY": "s3cret"}
    with pytest.raises(ConfigError, match="remote_api_key_file") as told:
        load_settings("demo", both)
    assert "s3cret" not in str(told.value)
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings("demo", {"MODELCACHE_REMOTE_API_KEY_FILE": str(path)})


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MODELCACHE_PORT_FILE"):
        load_settings("demo", {"MODELCACHE_PORT_FILE": str(tmp_path)})


@pytest.mark.parametrize("env", ["dev", "prepub", "prod"])
def test_the_shipped_profile_names_databases_for_every_environment(env: str) -> None:
    settings = load_settings("default", {"MODELCACHE_ENV": env})
    assert (settings.scalar_store, settings.vector_store) == ("mysql", "milvus")


def test_a_preset_is_the_default_of_some_settings() -> None:
    plain, reference = make_settings({}), make_settings({"preset": "reference"})
    assert (plain.evaluation, plain.similarity_threshold, plain.slot_guard) == ("confidence", None, True)
    assert (reference.evaluation, reference.similarity_threshold, reference.slot_guard) == (
        "distance",
        0.95,
        False,
    )
    assert (reference.conversation, reference.system_prompt) == ("splice", "splice")
    mine = make_settings({"preset": "reference", "similarity_threshold": "0.9", "slot_guard": "true"})
    assert (mine.evaluation, mine.similarity_threshold, mine.slot_guard) == ("distance", 0.9, True)
    from_environment = load_settings("demo", {"MODELCACHE_PRESET": "reference"})
    assert from_environment.evaluation == "distance"
    with pytest.raises(ConfigError, match="preset"):
        make_settings({"preset": "gptcache"})
