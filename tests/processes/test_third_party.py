"""A backend that another package brings: found by its entry point, with settings of its own, and served."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from pydantic import SecretStr

from modelcache.backends import EMBEDDERS, VECTOR_STORES
from modelcache.embedding.base import Embedder
from modelcache.errors import ConfigError
from modelcache.manager.vector_data.base import VectorStore
from modelcache.own_settings import OwnSettings
from modelcache.settings import Settings, load_settings, make_settings
from modelcache.testing.embedder import EmbedderContract
from modelcache.testing.vector_store import DIMENSION, VectorStoreContract
from tests.support.running import ROOT, RunningService
from tests.support.third_party.paper_cache import PaperEmbedder, PaperVectors, ShelfSettings

PAPER = """
[modelcache.vector_stores]
paper = paper_cache:PaperVectors
faiss = paper_cache:PaperVectors
broken = paper_cache.no_such_module:Vectors
absent = paper_cache:NoSuchClass
alien = paper_cache:PaperRows
[modelcache.scalar_stores]
paper = paper_cache:PaperRows
[modelcache.embedders]
paper = paper_cache:PaperEmbedder
auto = paper_cache:PaperEmbedder
[modelcache.evaluations]
paper = paper_cache:PaperEvaluation
"""


class TestPaperVectors(VectorStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        store = PaperVectors(DIMENSION, ShelfSettings())
        store.open()
        yield store
        store.close()


class TestPaperEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return PaperEmbedder()


def install(folder: Path, package: str, entries: str) -> None:
    """Do what installing a package of this name does: its files, and beside them what it declares."""
    folder.mkdir(exist_ok=True)
    copy(ROOT / "tests" / "support" / "third_party" / "paper_cache.py", folder)
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
    )
    (about / "entry_points.txt").write_text(entries, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as ``pip install`` leaves it."""
    folder = tmp_path / "site"
    install(folder, "paper-cache", PAPER)
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, found by this process."""
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("paper_cache", None)


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as told:
        make_settings(values)
    return str(told.value)


@pytest.mark.process
def test_a_service_is_made_of_what_another_package_brings(site: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret\n", encoding="utf-8")
    ini = tmp_path / "paper.ini"
    ini.write_text(
        "[modelcache]\nvector_store = paper\npaper_shelves = 3\nscalar_store = paper\nembedder = paper\n"
        "evaluation = paper\n",
        encoding="utf-8",
    )
    service = RunningService(
        tmp_path / "data",
        *("-m", "modelcache", "demo"),
        PYTHONPATH=f"{ROOT}:{site}",
        MODELCACHE_CONFIG=str(ini),
        MODELCACHE_PAPER_DIARY=str(tmp_path / "diary"),
        MODELCACHE_PAPER_KEY_FILE=str(key),
    ).wait_ready()
    service.insert([("What is a cache?", "a store of answers")])
    # By its vector: the deterministic embedder puts these two near each other.
    assert service.query("What is a cache? (again)")["answer"] == "a store of answers"
    assert service.terminate() == 0
    assert (tmp_path / "diary").read_text(encoding="utf-8") == "3 shelves, key s3cret"
    assert (tmp_path / "data" / "paper.db").is_file()


@pytest.mark.process
def test_the_settings_of_installed_backends_are_printed(site: Path) -> None:
    entries = PAPER.partition("faiss")[0]
    (site / "paper_cache-1.0.dist-info" / "entry_points.txt").write_text(entries, encoding="utf-8")
    printed = subprocess.run(
        [sys.executable, "-m", "modelcache.own_settings"],
        env={"PYTHONPATH": f"{ROOT}:{site}"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert "| vector store `paper` | `MODELCACHE_PAPER_SHELVES` | `4` | shelves of the library |" in printed
    assert "| vector store `paper` | `MODELCACHE_PAPER_KEY` |  | opens it |" in printed


def test_a_shipped_name_wins_over_an_installed_one(installed: Path) -> None:
    assert VECTOR_STORES.load("faiss").__module__ == "modelcache.manager.vector_data.faiss"
    assert "faiss" not in VECTOR_STORES.installed()
    assert EMBEDDERS.installed() == ["paper"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "broken",
            "'broken' of the package 'paper-cache' cannot be imported from paper_cache.no_such_module",
        ),
        ("absent", "'absent' of the package 'paper-cache' cannot be imported from paper_cache:NoSuchClass"),
        ("alien", "'alien' of the package 'paper-cache' is no VectorStore"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(installed: Path, name: str, reason: str) -> None:
    sentence = refusal(vector_store=name)
    assert reason in sentence
    assert "\n" not in sentence


def test_two_packages_with_one_name_are_refused(installed: Path) -> None:
    install(installed, "paper-copy", "[modelcache.vector_stores]\npaper = paper_cache:PaperVectors\n")
    assert "paper-cache and paper-copy" in refusal(vector_store="paper")


def test_installed_backends_are_told_of(installed: Path) -> None:
    with pytest.raises(ConfigError, match=r"known are: absent, alien, broken, chroma, .*paper"):
        VECTOR_STORES.load("clay")


def test_its_settings_are_refused_as_the_others_are(installed: Path) -> None:
    assert "'paper_shelves'" in refusal(vector_store="paper", paper_shelves="many")
    assert "unknown setting 'paper_colour'" in refusal(vector_store="paper", paper_colour="red")
    with pytest.raises(ConfigError, match="unknown setting MODELCACHE_PAPER_COLOUR"):
        load_settings("demo", {"MODELCACHE_VECTOR_STORE": "paper", "MODELCACHE_PAPER_COLOUR": "red"})


def test_its_settings_are_unknown_where_it_is_not_chosen(installed: Path) -> None:
    assert "unknown setting 'paper_shelves'" in refusal(paper_shelves="3")
    with pytest.raises(ConfigError, match="ShelfSettings"):
        make_settings({}).own(ShelfSettings)


def test_a_secret_of_its_own_is_never_shown() -> None:
    own = OwnSettings("vector store 'paper'", "paper_", ShelfSettings)
    assert own.secrets == {"paper_key"}
    with pytest.raises(ConfigError) as told:
        own.read({"paper_key": ["s3cret"]})
    assert "s3cret" not in str(told.value)
    assert own.read({"paper_key": "s3cret"}).key == SecretStr("s3cret")


def test_a_setting_of_the_service_cannot_be_taken(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Taking:
        path: str = ""

    monkeypatch.setattr(VECTOR_STORES.load("paper"), "own_settings", Taking)
    monkeypatch.setattr(OwnSettings, "names", frozenset({"text2vec_path"}))
    assert "'text2vec_path', which is not its own" in refusal(vector_store="paper")
    assert "text2vec_path" in Settings.model_fields
