"""Packages that are not installed: what needs them, and what installs them, in a sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LIGHT = "requirements-demo.txt"
PRODUCTION = "requirements.txt"
CALIBRATE = "requirements-calibrate.txt"
CLI = "requirements-cli.txt"
TESTS = "requirements-test.txt"


class Source(NamedTuple):
    """What installs a package: an extra of the wheel, or a requirements file of a clone."""

    extra: str
    file: str


# By the name it is imported by. All others belong to the light set.
SOURCES: Mapping[str, Source] = {
    "chromadb": Source("chroma", TESTS),
    "grpc": Source("milvus", PRODUCTION),
    "httpx2": Source("gateway", PRODUCTION),
    "matplotlib": Source("calibrate", CALIBRATE),
    "milvus_lite": Source("milvus", PRODUCTION),
    "onnx": Source("build", CALIBRATE),
    "opentelemetry": Source("otel", PRODUCTION),
    "pymilvus": Source("milvus", PRODUCTION),
    "pymysql": Source("mysql", PRODUCTION),
    "pytest": Source("testing", TESTS),
    "redis": Source("redis", PRODUCTION),
    "scipy": Source("calibrate", CALIBRATE),
    "tokenizers": Source("onnx", PRODUCTION),
    "torch": Source("text2vec", PRODUCTION),
    "tqdm": Source("cli", CLI),
    "transformers": Source("text2vec", PRODUCTION),
}
LIGHT_SOURCE = Source("", LIGHT)


def needs(what: str, absent: ModuleNotFoundError) -> str:
    """Say that ``what`` needs a package that is not installed, and how to install it."""
    name = absent.name or str(absent)
    source = SOURCES.get(name.partition(".")[0], LIGHT_SOURCE)
    if (ROOT / source.file).is_file():
        command = f"pip install -r {ROOT / source.file}"
    else:
        command = f"pip install 'modelcache[{source.extra}]'" if source.extra else "pip install modelcache"
    return f"{what} needs the Python package {name!r}, which is not installed; to install it: {command}"
