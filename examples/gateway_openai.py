"""Ask through the gateway with OpenAI's client: ``python examples/gateway_openai.py``."""

import os

from openai import OpenAI

# The one line that changes.
client = OpenAI(base_url=os.environ.get("MODELCACHE_GATEWAY", "http://127.0.0.1:5000/v1"))

question = [{"role": "user", "content": "How do I reset my password?"}]
model = os.environ.get("MODEL", "gpt-4o-mini")

reply = client.chat.completions.create(model=model, messages=question)
print(reply.choices[0].message.content)

for chunk in client.chat.completions.create(model=model, messages=question, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
print()

raw = client.chat.completions.with_raw_response.create(model=model, messages=question)
print(raw.headers["x-modelcache"])
