"""The bodies of requests."""

from collections.abc import Mapping, Sequence
from typing import Any

Dialogue = str | Sequence[Mapping[str, Any]]
Scope = Mapping[str, str | int | float | bool]
Body = dict[str, Any]


def messages_of(dialogue: Dialogue) -> list[Any]:
    """Return messages; a text is a question of a user."""
    if isinstance(dialogue, str):
        return [{"role": "user", "content": dialogue}]
    return list(dialogue)


def body(kind: str, model: str, scope: Scope | None, **fields: Any) -> Body:
    """Make the body of a request; fields that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return {"type": kind, "scope": {**(scope or {}), "model": model}} | given


def query(dialogue: Dialogue, model: str, scope: Scope | None, **fields: Any) -> Body:
    return body("query", model, scope, query=messages_of(dialogue), **fields)


def insert(
    pairs: Sequence[tuple[Dialogue, str]],
    model: str,
    scope: Scope | None,
    asked_at: float | None,
    **fields: Any,
) -> Body:
    given = {name: value for name, value in fields.items() if value is not None}
    chat_info = [{"query": messages_of(dialogue), "answer": answer} | given for dialogue, answer in pairs]
    return body("insert", model, scope, chat_info=chat_info, asked_at=asked_at)


def remove(
    model: str,
    scope: Scope | None,
    *,
    ids: Sequence[int] | None,
    tags: Sequence[str] | None,
    sources: Sequence[str] | None,
    older_than: float | None,
    dry_run: bool,
) -> Body:
    """Ask to remove by the first of these that is given, in this order, else all of the model."""
    by: dict[str, Any] = {"remove_type": "truncate_by_model"}
    if ids is not None:
        by = {"remove_type": "delete_by_id", "id_list": list(ids)}
    elif tags is not None:
        by = {"remove_type": "delete_by_tag", "tags": list(tags)}
    elif sources is not None:
        by = {"remove_type": "delete_by_source", "sources": list(sources)}
    elif older_than is not None:
        by = {"remove_type": "delete_by_age", "older_than": older_than}
    return body("remove", model, scope, dry_run=dry_run or None, **by)


def feedback(entry_id: int, dialogue: Dialogue, model: str, scope: Scope | None, correct: bool) -> Body:
    return body("feedback", model, scope, hit_id=entry_id, query=messages_of(dialogue), correct=correct)
