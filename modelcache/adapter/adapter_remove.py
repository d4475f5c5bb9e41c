"""Remove entries by id, tag or scope, or all of a model, or all."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import RemoveRequest
from modelcache.core import Cache
from modelcache.errors import RemoveTypeError, ScalarStoreError
from modelcache.manager.patience import waiting
from modelcache.processor.canonical import canonical

REBUILD = "rebuild"


def remove(cache: Cache, asked: RemoveRequest) -> Reply:
    """Return how many entries there were; none of them answers any more."""
    model = asked.scope.model
    if asked.remove_type == "truncate_by_model":
        _flush(cache)
        return reply.removed(REBUILD, cache.data_manager.truncate(model))
    if asked.remove_type == "truncate_all":
        if not cache.settings.allow_truncate_all:
            raise RemoveTypeError("remove_type: truncate_all is not allowed here")
        _flush(cache)
        return reply.removed(REBUILD, cache.data_manager.truncate_all())
    if asked.remove_type == "delete_by_id":
        count = cache.data_manager.delete(model, asked.id_list or [])
    elif asked.remove_type == "delete_by_scope":
        count = cache.data_manager.delete_scoped(model, canonical(asked.scope.keys))
    else:
        count = cache.data_manager.delete_tagged(model, asked.tags or [])
    return reply.removed(f"delete_count: {count}", count)


def _flush(cache: Cache) -> None:
    """Have the query log written that is about to be deleted, while that leaves time to delete it."""
    limit = cache.settings.store_timeout
    with waiting(ScalarStoreError, limit):
        cache.writer.flush(limit / 2)
