"""Who may ask: keys, their roles, models and quotas."""

import json
import logging
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modelcache.access import gate as gate_module
from modelcache.access import quota as quota_module
from modelcache.access.gate import Gate, check_door
from modelcache.access.keys import create_key, now, read_keys, revoke_key
from modelcache.app import get_service
from modelcache.cli import main
from modelcache.errors import ConfigError, UnauthorizedError
from modelcache.settings import make_settings
from modelcache.testing.waiting import wait_until
from tests.conftest import AppFactory
from tests.support.client import Json, user

QUERY: Json = {"type": "query", "scope": {"model": "m"}, "query": user("q")}
INSERT: Json = {"type": "insert", "scope": {"model": "m"}, "chat_info": [{"query": user("q"), "answer": "a"}]}
REMOVE: Json = {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_id", "id_list": [1]}
AGE: Json = {"type": "remove", "scope": {"model": "m"}, "remove_type": "delete_by_age", "older_than": 60}
TRUNCATE: Json = {"type": "remove", "scope": {"model": "m"}, "remove_type": "truncate_by_model"}
REGISTER: Json = {"type": "register", "scope": {"model": "m"}}
FEEDBACK: Json = {
    "type": "feedback",
    "scope": {"model": "m"},
    "hit_id": 1,
    "query": user("q"),
    "correct": True,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def app(make_app: AppFactory, path: Path) -> Flask:
    create_key(path, "first", ["admin"])
    return make_app(keys_file=path)


def ask(app: Flask, body: Json, key: str | None = None, header: str | None = None) -> tuple[int, Json, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if header is not None:
        headers = {"Authorization": header}
    response = app.test_client().post("/modelcache", json=body, headers=headers)
    return response.status_code, response.get_json(), response.headers


def status(app: Flask, body: Json, key: str | None = None, header: str | None = None) -> int:
    code, reply, _ = ask(app, body, key, header)
    # The body says it too, and nothing of it is an answer.
    assert code == 200 or (reply["errorCode"] == code and not reply.get("answer"))
    return code


def new_key(app: Flask, path: Path, name: str, *roles: str, **more: Any) -> str:
    """Make a key, and have the service see it."""
    secret = create_key(path, name, roles, **more)
    get_service(app).gate._next_look = 0
    return secret


# Without a key.


HEADERS = (None, "", "Bearer", "Bearer ", "Basic bWM=", "Bearer wrong", "mc-x", "Bearer \xe9")


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("body", [QUERY, INSERT, REMOVE, TRUNCATE, REGISTER, FEEDBACK, {}, []])
def test_without_a_valid_key_nothing_is_done(app: Flask, header: str | None, body: Any) -> None:
    code, reply, headers = ask(app, body, header=header)
    assert (code, reply["errorCode"], headers["WWW-Authenticate"]) == (401, 401, "Bearer")
    assert get_service(app).cache.data_manager.scalars.models() == []


def test_paths_that_tell_nothing_need_no_key(app: Flask) -> None:
    for path in ("/welcome", "/health", "/ready"):
        assert app.test_client().get(path).status_code == 200


def test_without_a_file_anybody_may_ask(make_app: AppFactory) -> None:
    app = make_app()
    assert [status(app, body) for body in (QUERY, INSERT, TRUNCATE, REGISTER)] == [200] * 4


# What a key may do.


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("read", [QUERY]),
        ("write", [INSERT, REMOVE, FEEDBACK]),
        ("admin", [QUERY, INSERT, REMOVE, FEEDBACK, TRUNCATE, AGE, REGISTER]),
    ],
)
def test_a_role_says_what_a_key_may_do(app: Flask, path: Path, role: str, allowed: list[Json]) -> None:
    key = new_key(app, path, "k", role)
    for body in (QUERY, INSERT, REMOVE, FEEDBACK, TRUNCATE, AGE, REGISTER):
        assert status(app, body, key) == (200 if body in allowed else 403)


def test_a_key_touches_its_models_only(app: Flask, path: Path) -> None:
    key = new_key(app, path, "k", "admin", models=("gpt-*", "模型"))
    for model, code in (("gpt-4", 200), ("模型", 200), ("m", 403), ("GPT-4", 403), ("xgpt-4", 403)):
        for body in (QUERY, INSERT, TRUNCATE):
            assert status(app, body | {"scope": {"model": model}}, key) == code


def test_all_models_are_emptied_by_a_key_of_all_models_only(make_app: AppFactory, path: Path) -> None:
    some = create_key(path, "some", ["admin"], models=("m",))
    every = create_key(path, "every", ["admin"])
    app = make_app(keys_file=path, allow_truncate_all=True)
    everything = TRUNCATE | {"remove_type": "truncate_all"}
    assert (status(app, everything, some), status(app, everything, every)) == (403, 200)


def test_an_error_has_the_shape_of_its_request(app: Flask, path: Path) -> None:
    key = new_key(app, path, "k", "read")
    _, reply, _ = ask(app, INSERT, key)
    assert (reply["errorCode"], reply["writeStatus"], reply["ids"]) == (403, "exception", [])


def test_an_expired_key_is_none(app: Flask, path: Path) -> None:
    old = new_key(app, path, "old", "read", expires_at=now() - timedelta(seconds=1))
    later = new_key(app, path, "later", "read", expires_at=now() + timedelta(hours=1))
    assert (status(app, QUERY, old), status(app, QUERY, later)) == (401, 200)


# While the service runs.


def test_keys_come_and_go_without_a_restart(app: Flask, path: Path) -> None:
    key = create_key(path, "k", ["read"])
    wait_until(lambda: status(app, QUERY, key) == 200, "the key to be valid")
    revoke_key(path, "k")
    wait_until(lambda: status(app, QUERY, key) == 401, "the key to be revoked")


@pytest.mark.parametrize("content", ["", "{", '{"keys": [{"name": "x"}]}', None])
def test_a_file_that_is_wrong_changes_nothing(
    app: Flask, path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    key = new_key(app, path, "k", "read")
    assert status(app, QUERY, key) == 200
    path.unlink() if content is None else path.write_text(content)
    get_service(app).gate._next_look = 0
    assert status(app, QUERY, key) == 200
    assert "stay valid" in caplog.text
    assert status(app, QUERY, "mc-another") == 401


# How often.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that quotas go by, in seconds."""
    at = [1000.0]
    monkeypatch.setattr(quota_module, "monotonic", lambda: at[0])
    return at


def test_requests_of_a_minute_are_counted(app: Flask, path: Path, clock: list[float]) -> None:
    key = new_key(app, path, "k", "read", requests_per_minute=3)
    other = new_key(app, path, "other", "read", requests_per_minute=3)
    assert [status(app, QUERY, key) for _ in range(5)] == [200, 200, 200, 429, 429]
    _, _, headers = ask(app, QUERY, key)
    assert headers["Retry-After"] == "20"
    assert status(app, QUERY, other) == 200
    clock[0] += 20
    assert [status(app, QUERY, key) for _ in range(2)] == [200, 429]
    clock[0] += 3600
    assert [status(app, QUERY, key) for _ in range(4)] == [200, 200, 200, 429]


def test_inserted_entries_and_bytes_are_counted(app: Flask, path: Path, clock: list[float]) -> None:
    key = new_key(app, path, "k", "admin", inserts_per_minute=5)
    three = INSERT | {"chat_info": INSERT["chat_info"] * 3}
    assert [status(app, body, key) for body in (three, three, QUERY, INSERT)] == [200, 429, 200, 200]
    sized = new_key(app, path, "sized", "admin", bytes_per_minute=1000)
    long = QUERY | {"query": user("x" * 700)}
    assert [status(app, body, sized) for body in (long, long, QUERY)] == [200, 429, 200]


def test_what_is_used_up_stays_so_when_the_file_changes(app: Flask, path: Path, clock: list[float]) -> None:
    key = new_key(app, path, "k", "read", requests_per_minute=1)
    assert [status(app, QUERY, key) for _ in range(2)] == [200, 429]
    new_key(app, path, "another", "read")
    assert status(app, QUERY, key) == 429


def test_processes_share_what_a_key_may_ask(path: Path, clock: list[float]) -> None:
    secret = create_key(path, "k", ["read"], requests_per_minute=6)
    gate = Gate(path, processes=3)
    gate.open()
    caller = gate.admit(f"Bearer {secret}")
    caller.permit("read", "m")
    caller.permit("read", "m")
    with pytest.raises(Exception, match="used up its requests"):
        caller.permit("read", "m")


# The file and the command.


def test_the_file_keeps_no_key(path: Path) -> None:
    secret = create_key(path, "k", ["read"])
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [key] = read_keys(path).values()
    assert (key.name, key.roles, key.models) == ("k", ("read",), ("*",))
    assert secret != create_key(path, "other", ["read"])


def test_a_name_is_there_once(path: Path) -> None:
    create_key(path, "k", ["read"])
    with pytest.raises(ConfigError, match="already"):
        create_key(path, "k", ["write"])
    with pytest.raises(ConfigError, match="no key of the name"):
        revoke_key(path, "another")
    with pytest.raises(ConfigError, match="roles"):
        create_key(path, "x", ["king"])


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{}]}', '{"keys": [], "more": 1}'])
def test_a_start_with_a_file_that_is_wrong_is_refused(make_app: AppFactory, path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigError, match="the keys in"):
        make_app(keys_file=path)
    with pytest.raises(ConfigError, match="cannot read the keys"):
        make_app(keys_file=path / "none")


def test_the_command(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--role", "read", "--role", "write", "--model", "gpt-*", "--expires", "2099-01-31"]
    assert main(["keys", "--file", str(path), "create", "ci", *options, "--requests-per-minute", "60"]) == 0
    secret = capsys.readouterr().out.strip()
    assert main(["keys", "--file", str(path), "list"]) == 0
    assert capsys.readouterr().out == (
        "ci: read, write; models gpt-*; until 2099-01-31 requests_per_minute=60\n"
    )
    gate = Gate(path)
    gate.open()
    assert gate.admit(f"bearer {secret}").name == "ci"
    assert main(["keys", "--file", str(path), "revoke", "ci"]) == 0
    assert main(["keys", "list"]) == 1
    assert "needs --file" in capsys.readouterr().err
    gate._next_look = 0
    with pytest.raises(UnauthorizedError):
        gate.admit(f"Bearer {secret}")


# Doors and records.


@pytest.mark.parametrize(
    ("host", "more", "opens"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("localhost", {}, True),
        ("0.0.0.0", {}, False),
        ("::", {}, False),
        ("10.1.2.3", {}, False),
        ("cache.internal", {}, False),
        ("0.0.0.0", {"allow_anonymous": True}, True),
        ("0.0.0.0", {"keys_file": "keys.json"}, True),
    ],
)
def test_nobody_listens_to_other_machines_without_keys_unless_told_so(
    host: str, more: Json, opens: bool
) -> None:
    settings = make_settings({"host": host, **more})
    if opens:
        check_door(settings)
    else:
        with pytest.raises(ConfigError, match="MODELCACHE_ALLOW_ANONYMOUS"):
            check_door(settings)


def test_what_admins_do_is_recorded(app: Flask, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, gate_module.audit.name)
    key = new_key(app, path, "anne", "admin")
    for body in (REGISTER | {"mode": "shadow"}, TRUNCATE, QUERY, INSERT):
        status(app, body, key)
    told = [record.getMessage() for record in caplog.records if record.name == gate_module.audit.name]
    assert told == [
        'register by \'anne\': {"model": "m", "mode": "shadow"}',
        'remove by \'anne\': {"model": "m", "remove_type": "truncate_by_model"}',
    ]
    assert key not in caplog.text


@pytest.mark.slow
def test_random_keys_reach_nothing(app: Flask) -> None:
    good = json.loads(app.test_client().post("/modelcache", json=INSERT).text)
    assert good["errorCode"] == 401
    for number in range(2000):
        assert status(app, QUERY, f"mc-{number}") == 401
