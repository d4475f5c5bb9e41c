"""Answer each line by ``litellm.acompletion``, without a proxy; tests/processes/test_litellm.py runs it."""

import asyncio
import os
import sys

import litellm
from litellm.caching.caching import Cache

from modelcache.client.litellm import ModelCache


async def main(tenant: str) -> None:
    litellm.cache = Cache(type="local")
    cache = ModelCache(os.environ["MODELCACHE_URL"], tenant=tenant, scope={"app": "test"})
    litellm.cache.cache = cache
    # On a thread, so that what stores an answer goes on meanwhile.
    while question := (await asyncio.to_thread(sys.stdin.readline)).strip():
        messages = [{"role": "user", "content": question}]
        reply = await litellm.acompletion(model="openai/m", messages=messages)
        print(reply.choices[0].message.content, flush=True)
    await cache.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
