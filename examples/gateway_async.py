"""Ask through the gateway with OpenAI's client, awaited: ``python examples/gateway_async.py``."""

import asyncio
import os

from openai import AsyncOpenAI


async def main() -> None:
    base_url = os.environ.get("MODELCACHE_GATEWAY", "http://127.0.0.1:5000/v1")
    async with AsyncOpenAI(base_url=base_url) as client:
        stream = await client.chat.completions.create(
            model=os.environ.get("MODEL", "gpt-4o-mini"),
            messages=[{"role": "user", "content": "How do I reset my password?"}],
            stream=True,
        )
        async for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="")
        print()


asyncio.run(main())
