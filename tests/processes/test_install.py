"""A newcomer's first minutes: the scripts in a clean copy, from anywhere, with spaces in the path."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from modelcache.manager.scalar_data.mysql_schema import schema_statements
from tests.support.running import ROOT, RunningService

pytestmark = pytest.mark.network

DEMO_SECONDS = 300
IN_THE_WHEEL = (
    "py.typed",
    "config/default.ini",
    "config/demo.ini",
    "manager/scalar_data/create_table.sql",
    "slots/slots.toml",
    "admin/dashboard/index.html",
    "admin/dashboard/dashboard.js",
    "admin/dashboard/uplot/uPlot.iife.min.js",
    "admin/dashboard/uplot/LICENSE",
    "model/e5/encoder.onnx",
    "model/e5/pieces.marisa",
    "model/e5-untaught/encoder.onnx",
    "model/reader/reader.onnx",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Copy what git tracks into a folder with a space in its name."""
    folder = tmp_path / "a clean clone"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def start_demo(clone: Path, data_dir: Path, **environ: str) -> RunningService:
    """Run scripts/demo from another folder."""
    environ |= {"MODELCACHE_PORT": "0", "MODELCACHE_DATA_DIR": str(data_dir)}
    process = subprocess.Popen(
        [clone / "scripts" / "demo"],
        cwd="/",
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return RunningService.of(process)


def test_one_command_installs_and_starts_the_demo(clone: Path, tmp_path: Path) -> None:
    service = start_demo(clone, tmp_path / "data").wait_ready()
    service.insert([("你是谁?", "a semantic cache")])
    assert service.query("你是谁")["answer"] == "a semantic cache"
    assert service.terminate() == 0
    # The second start installs nothing, so it needs no package index.
    again = start_demo(clone, tmp_path / "data", PIP_NO_INDEX="1", PIP_FIND_LINKS="").wait_ready()
    assert again.query("你是谁")["answer"] == "a semantic cache"
    assert again.terminate() == 0


def test_the_package_installs_with_its_configuration(clone: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    # The demo has run here: what it kept is no package.
    (clone / "modelcache_data" / "faiss").mkdir(parents=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*install, str(clone)], check=True, capture_output=True, timeout=DEMO_SECONDS)
    code = (
        "import modelcache.settings as s, modelcache.manager.scalar_data.mysql_schema as m; "
        "print(s.__file__, s.load_settings('demo').embedder, len(m.schema_statements()))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    statements = str(len(schema_statements()))
    assert output.split() == [str(target / "modelcache" / "settings.py"), "e5", statements]
    assert not (target / "modelcache_data").exists()


@pytest.fixture
def wheel(clone: Path, tmp_path: Path) -> Path:
    """Build the wheel of a clone in which the demo has run."""
    (clone / "modelcache_data" / "faiss").mkdir(parents=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path)]
    subprocess.run([*build, str(clone)], check=True, capture_output=True, timeout=DEMO_SECONDS)
    [built] = tmp_path.glob("*.whl")
    return built


def test_the_wheel_starts_the_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "modelcache",
        "flask4modelcache.py",
        "flask4modelcache_demo.py",
    }
    assert {f"modelcache/{name}" for name in IN_THE_WHEEL} <= set(names)
    environment = tmp_path / "an empty environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=DEMO_SECONDS)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=DEMO_SECONDS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [environment / "bin" / "modelcache", "demo"],
        cwd=elsewhere,
        env={**environ, "MODELCACHE_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    service = RunningService.of(process).wait_ready()
    service.insert([("What is a cache?", "a semantic cache")])
    assert service.query("What is a cache?")["answer"] == "a semantic cache"
    assert service.terminate() == 0
    refused = subprocess.run(
        [python, "-m", "flask4modelcache"], cwd=elsewhere, env=environ, capture_output=True, text=True
    )
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith("modelcache cannot start: ")
    assert line.endswith("pip install 'modelcache[mysql]'")


def test_the_quick_tests_have_the_pins_of_all_tests() -> None:
    quick, every = (
        {line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line[0] != "#"}
        for name in ("requirements-quick.txt", "requirements-test.txt")
    )
    assert quick
    assert quick <= every


def test_a_run_without_tests_fails(tmp_path: Path) -> None:
    empty = tmp_path / "test_nothing.py"
    empty.touch()
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(empty)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode != 0
