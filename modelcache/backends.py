"""What can be chosen by name: a line for each backend that is shipped."""

from typing import TYPE_CHECKING, Any

from modelcache.registry import Registry

if TYPE_CHECKING:
    # Only for the types: what is listed here is imported when it is first used.
    from modelcache.embedding.base import Embedder
    from modelcache.manager.eviction.redis_book import RedisBook
    from modelcache.manager.scalar_data.base import ScalarStore
    from modelcache.manager.vector_data.base import VectorStore
    from modelcache.similarity_evaluation.base import SimilarityEvaluation

AUTO = "auto"

EMBEDDERS: "Registry[Embedder]" = Registry(
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
    group="modelcache.embedders",
    contract="modelcache.embedding.base:Embedder",
)
SCALAR_STORES: "Registry[ScalarStore]" = Registry(
    "scalar store",
    {
        "sqlite": "modelcache.manager.scalar_data.sqlite:SqliteStorage",
        "mysql": "modelcache.manager.scalar_data.mysql:MySQLStorage",
        "oceanbase": "modelcache.manager.scalar_data.oceanbase:OceanBaseStorage",
    },
    group="modelcache.scalar_stores",
    contract="modelcache.manager.scalar_data.base:ScalarStore",
)
VECTOR_STORES: "Registry[VectorStore]" = Registry(
    "vector store",
    {
        "faiss": "modelcache.manager.vector_data.faiss:FaissStore",
        "milvus": "modelcache.manager.vector_data.milvus:MilvusStore",
        "redis": "modelcache.manager.vector_data.redis:RedisStore",
        "chroma": "modelcache.manager.vector_data.chroma:ChromaStore",
    },
    group="modelcache.vector_stores",
    contract="modelcache.manager.vector_data.base:VectorStore",
)
EVALUATIONS: "Registry[SimilarityEvaluation]" = Registry(
    "evaluation",
    {
        # What decides for an embedder without a calibration.
        "confidence": "modelcache.similarity_evaluation.cosine:CosineEvaluation",
        "cosine": "modelcache.similarity_evaluation.cosine:CosineEvaluation",
        "distance": "modelcache.similarity_evaluation.distance:DistanceEvaluation",
        "exact_match": "modelcache.similarity_evaluation.exact_match:ExactMatchEvaluation",
    },
    group="modelcache.evaluations",
    contract="modelcache.similarity_evaluation.base:SimilarityEvaluation",
)
EVICTION_BOOKS: "Registry[RedisBook]" = Registry(
    "eviction book", {"redis": "modelcache.manager.eviction.redis_book:RedisBook"}
)

NAMED_BY: "dict[str, Registry[Any]]" = {
    "embedder": EMBEDDERS,
    "scalar_store": SCALAR_STORES,
    "vector_store": VECTOR_STORES,
    "evaluation": EVALUATIONS,
}
"""The registries by the setting that names one of theirs."""
