"""Embedders by name."""

from importlib.util import find_spec

from modelcache.backends import AUTO, EMBEDDERS
from modelcache.embedding.base import Embedder
from modelcache.settings import Settings


def get_embedder(settings: Settings) -> Embedder:
    """Build the embedder that the settings name; nothing is loaded before its ``open``."""
    name = settings.embedder
    if name == AUTO:
        name = "text2vec" if _text2vec_is_in_place(settings) else "e5"
    return EMBEDDERS.load(name).from_settings(settings)


def _text2vec_is_in_place(settings: Settings) -> bool:
    if find_spec("torch") is None or find_spec("transformers") is None:
        return False
    from modelcache.embedding.text2vec import missing_file

    return missing_file(settings.text2vec_path) is None
