"""Remove entries by id, tag, source, scope or age, or all of a model, or all."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import RemoveRequest
from modelcache.core import Cache
from modelcache.errors import RemoveTypeError, ScalarStoreError
from modelcache.manager.patience import waiting
from modelcache.processor.canonical import canonical

REBUILD = "rebuild"


def remove(cache: Cache, asked: RemoveRequest) -> Reply:
    """Return how many entries there were; none of them answers any more, unless it is a dry run."""
    if asked.remove_type == "truncate_all" and not cache.settings.allow_truncate_all:
        raise RemoveTypeError("remove_type: truncate_all is not allowed here")
    is_rebuilt = asked.remove_type in ("truncate_all", "truncate_by_model")
    if is_rebuilt and not asked.dry_run:
        _flush(cache)
    count = _removed(cache, asked)
    vectors = REBUILD if is_rebuilt else f"delete_count: {count}"
    return reply.removed(vectors, count, dry_run=asked.dry_run)


def _removed(cache: Cache, asked: RemoveRequest) -> int:
    manager, model, dry_run = cache.data_manager, asked.scope.model, asked.dry_run
    match asked.remove_type:
        case "truncate_by_model":
            return manager.truncate(model, dry_run=dry_run)
        case "truncate_all":
            return manager.truncate_all(dry_run=dry_run)
        case "delete_by_id":
            return manager.delete(model, asked.id_list or [], dry_run=dry_run)
        case "delete_by_scope":
            return manager.delete_scoped(model, canonical(asked.scope.keys), dry_run=dry_run)
        case "delete_by_source":
            return manager.delete_sourced(model, asked.sources or [], dry_run=dry_run)
        case "delete_by_age":
            return manager.delete_older(model, asked.older_than or 0.0, dry_run=dry_run)
        case _:
            return manager.delete_tagged(model, asked.tags or [], dry_run=dry_run)


def _flush(cache: Cache) -> None:
    """Have the query log written that is about to be deleted, while that leaves time to delete it."""
    limit = cache.settings.store_timeout
    with waiting(ScalarStoreError, limit):
        cache.writer.flush(limit / 2)
