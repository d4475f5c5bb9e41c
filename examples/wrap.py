"""OpenAI's client with the cache in front, without the gateway: ``python examples/wrap.py``."""

import os

from openai import OpenAI

from modelcache.client import Client, wrap

with Client(os.environ.get("MODELCACHE_URL", "http://127.0.0.1:5000")) as cache:
    client = wrap(OpenAI(), cache, scope={"tenant": "acme"})
    reply = client.chat.completions.create(
        model=os.environ.get("MODEL", "gpt-4o-mini"),
        messages=[{"role": "user", "content": "How do I reset my password?"}],
    )
    print(reply.choices[0].message.content)
