"""What ``reconcile`` and ``rebuild`` do to both stores."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm

from modelcache.drift import name_in_use
from modelcache.embedding.factory import get_embedder
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.factory import data_manager_of
from modelcache.manager.names import collection_name
from modelcache.manager.reconcile import Reconciled, reconcile
from modelcache.records.names import model_key
from modelcache.settings import Settings, load_settings


@contextmanager
def opened_stores(profile: str) -> Iterator[tuple[SSDataManager, GatheringEmbedder, Settings]]:
    """Open both stores and the embedder as the service does, for the time of the block."""
    settings = load_settings(profile)
    embedder = get_embedder(settings)
    gathering = GatheringEmbedder(embedder)
    gathering.open()
    with ExitStack() as opened:
        opened.callback(gathering.close)
        manager = data_manager_of(settings, embedder.name, embedder.dimension)
        manager.open()
        opened.callback(manager.close)
        manager.use_embedder(name_in_use(manager.scalars, embedder.name))
        yield manager, gathering, settings


def reconcile_models(profile: str, model: str, anew: bool = False) -> None:
    """Make the vectors of one model, or of all, agree with the rows; ``anew`` drops them before."""
    with opened_stores(profile) as (manager, _, _):
        for each in [model] if model else manager.scalars.models():
            if anew:
                manager.vectors.truncate(collection_name(each, manager.embedder))
            done = _reconcile(manager, each)
            print(f"{each}: {done.rows} entries with a vector, {done.added} added, {done.removed} removed")


def _reconcile(manager: SSDataManager, model: str) -> Reconciled:
    total = len(manager.scalars.embedded_ids(model_key(model), manager.embedder))
    with tqdm(total=total, desc=model, unit="entry", disable=None) as bar:
        return reconcile(manager.scalars, manager.vectors, model, manager.embedder, bar.update)
