"""Embedders by name."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from modelcache.embedding.base import Embedder
from modelcache.registry import Registry

if TYPE_CHECKING:
    from modelcache.settings import Settings

AUTO = "auto"
EMBEDDERS = Registry(
    "embedder",
    {
        "e5": "modelcache.embedding.e5:E5Embedder",
        "e5-untaught": "modelcache.embedding.e5:UntaughtE5Embedder",
        "onnx": "modelcache.embedding.onnx:OnnxEmbedder",
        "text2vec": "modelcache.embedding.text2vec:Text2VecEmbedder",
        "sentence_transformers": "modelcache.embedding.sentence_transformers:SentenceTransformersEmbedder",
        "remote": "modelcache.embedding.remote:RemoteEmbedder",
    },
    aliases=[AUTO],
)


def get_embedder(settings: "Settings") -> Embedder:
    """Build the embedder that the settings name; nothing is loaded before its ``open``."""
    name = settings.embedder
    if name == AUTO:
        name = "text2vec" if _text2vec_is_in_place(settings) else "e5"
    embedder: Embedder = EMBEDDERS.load(name).from_settings(settings)
    return embedder


def _text2vec_is_in_place(settings: "Settings") -> bool:
    if find_spec("torch") is None or find_spec("transformers") is None:
        return False
    from modelcache.embedding.text2vec import missing_file

    return missing_file(settings.text2vec_path) is None
