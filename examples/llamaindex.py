"""Ask through the gateway with LlamaIndex: ``python examples/llamaindex.py``; a question may follow."""

import os
import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model=os.environ.get("MODEL", "gpt-4o-mini"),
    # The line that changes.
    api_base=os.environ.get("MODELCACHE_GATEWAY", "http://127.0.0.1:5000/v1"),
    api_key=os.environ["OPENAI_API_KEY"],
    is_chat_model=True,
    # What the cache is asked for, if anything.
    default_headers={"x-modelcache-namespace": "llamaindex"},
)
question = ChatMessage(role="user", content=" ".join(sys.argv[1:]) or "How do I reset my password?")

print(llm.chat([question]).message.content)

for part in llm.stream_chat([question]):
    print(part.delta or "", end="")
print()
