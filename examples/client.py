"""Ask the cache, call the model after a miss, insert the answer: ``python examples/client.py``."""

import os

from modelcache.client import Client

question = "How do I reset my password?"

with Client(os.environ.get("MODELCACHE_URL", "http://127.0.0.1:5000")) as cache:
    answer = cache.query(question, model="gpt-4o-mini", scope={"tenant": "acme"})
    if not answer.hit:
        text = "Open Settings and choose Reset password."  # what the model says
        cache.insert([(question, text)], model="gpt-4o-mini", scope={"tenant": "acme"})
    print(answer.hit, answer.text)
