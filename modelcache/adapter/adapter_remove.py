"""Remove entries by id or by tag, or all of a model."""

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import RemoveRequest
from modelcache.core import Cache

REBUILD = "rebuild"


def remove(cache: Cache, asked: RemoveRequest) -> Reply:
    """Return how many entries there were; none of them answers any more."""
    model = asked.scope.model
    if asked.remove_type == "truncate_by_model":
        # What is still queued belongs to the query log that is about to be deleted.
        cache.writer.flush()
        return reply.removed(REBUILD, cache.data_manager.truncate(model))
    if asked.remove_type == "delete_by_id":
        count = cache.data_manager.delete(model, asked.id_list or [])
    else:
        count = cache.data_manager.delete_tagged(model, asked.tags or [])
    return reply.removed(f"delete_count: {count}", count)
