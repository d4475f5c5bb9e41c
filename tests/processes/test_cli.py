"""The command line: every command is there, and what is missing is said in one sentence."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from modelcache import __version__
from modelcache.cli import COMMANDS, file_of, main
from modelcache.packages import LIGHT, SOURCES
from tests.support.running import ROOT

pytestmark = pytest.mark.process

# Importing any of these fails as if it were not installed.
WITHOUT = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv = {arguments!r}
sys.path.insert(0, {root!r})
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def run_without(
    absent: list[str], folder: Path, module: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m MODULE ARGUMENTS`` in a folder, where these packages are absent."""
    code = WITHOUT.format(absent=absent, arguments=[module, *arguments], root=str(ROOT), module=module)
    environ = {**os.environ, "MODELCACHE_PORT": "0", "MODELCACHE_DATA_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("absent", "file", "module", "arguments"),
    [
        ("pymysql", "requirements.txt", "flask4modelcache", []),
        ("pymysql", "requirements.txt", "modelcache", ["serve"]),
        ("pymilvus", "requirements.txt", "flask4modelcache", []),
        ("flask", LIGHT, "flask4modelcache", []),
        ("flask", LIGHT, "flask4modelcache_demo", []),
        ("granian", LIGHT, "modelcache", ["demo"]),
    ],
)
def test_a_service_without_a_package_says_in_one_sentence_what_to_install(
    tmp_path: Path, absent: str, file: str, module: str, arguments: list[str]
) -> None:
    process = run_without([absent], tmp_path, module, *arguments)
    assert process.returncode == 1
    assert process.stdout == ""
    [line] = process.stderr.splitlines()
    assert line.startswith("modelcache cannot start: ")
    assert f"needs the Python package {absent!r}, which is not installed" in line
    assert line.endswith(f"pip install -r {ROOT / file}")


@pytest.mark.parametrize(
    ("absent", "file", "arguments"),
    [
        ("onnx", "requirements-calibrate.txt", ["build-e5", "--to", "."]),
        ("tqdm", "requirements-cli.txt", ["reconcile"]),
    ],
)
def test_a_command_without_a_package_says_so_too(
    tmp_path: Path, absent: str, file: str, arguments: list[str]
) -> None:
    process = run_without([absent], tmp_path, "modelcache", *arguments)
    assert process.returncode == 1
    [line] = process.stderr.splitlines()
    assert line.startswith(f"modelcache: {arguments[0]} needs the Python package {absent!r}")
    assert line.endswith(f"pip install -r {ROOT / file}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(f"modelcache.cli.{file_of(name)}")
    assert (module.__doc__ or "").startswith(f"``modelcache {name}``")
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: modelcache {name} ")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"modelcache {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["none"], ["reconcile", "--none"], ["--none", "reconcile"]])
def test_what_is_unknown_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith("usage: modelcache ")


def test_the_command_and_what_installs_a_package_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"modelcache": "modelcache.cli:main"}
    for source in SOURCES.values():
        assert source.extra in project["optional-dependencies"]
        assert (ROOT / source.file).is_file()


def test_the_pins_of_the_light_set_are_within_the_ranges_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = [line for line in (ROOT / LIGHT).read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    ranges = [one.replace(">=", "==") for one in project["dependencies"]]
    assert sorted(ranges) == sorted(pins)
