"""A process whose children run one operation each, and die by SIGKILL in the middle of it.

Reads a JSON object a line from stdin: the settings, the ``operation``, and the step to die around;
writes a line with the child's exit status. Forking spares every child the start of Python and the import
of the drivers, which takes half a second; nothing is opened before the fork.
"""

import json
import os
import sys
import traceback
from typing import Any

from modelcache.app import create_app, get_service
from modelcache.backends import SCALAR_STORES, VECTOR_STORES
from modelcache.testing.hash_embedder import HashEmbedder
from tests.support.client import CacheClient
from tests.support.serve_hash import die_around


def run(command: dict[str, Any]) -> None:
    """Do what the command says, in a service of this process's own."""
    app = create_app(command["settings"], embedder=HashEmbedder())
    manager = get_service(app).cache.data_manager
    store, method = command["step"].split(".")
    die_around(getattr(manager, store), method, command["moment"], 1)
    client, model = CacheClient(app.test_client()), command["model"]
    match command["operation"]:
        case "insert":
            client.insert(*((name, "a") for name in command["names"]), model=model)
        case "delete":
            client.remove("delete_by_id", model=model, id_list=command["ids"])
        case "truncate":
            client.remove("truncate_by_model", model=model)
        case "sweep":
            manager.sweep(everything=True)


def main() -> None:
    SCALAR_STORES.load("mysql")
    VECTOR_STORES.load("milvus")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            except BaseException:  # noqa: BLE001 - a child must not go on with its parent's loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
