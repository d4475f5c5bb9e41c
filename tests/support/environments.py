"""Environments of their own, for packages that cannot stand beside the tests'."""

import os
import subprocess
import sys

from tests.support.running import ROOT

SECONDS = 1800


def python_with(name: str) -> str:
    """Return a Python that has what requirements-NAME.txt lists; its folder is kept for the next run."""
    folder = ROOT / f".venv-{name}"
    install = f'source scripts/lib.sh; ensure_venv "{folder}" requirements-{name}.txt'
    command = ["bash", "-c", f"set -euo pipefail; {install}"]
    subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHON": sys.executable}, check=True, timeout=SECONDS
    )
    return str(folder / "bin" / "python")
