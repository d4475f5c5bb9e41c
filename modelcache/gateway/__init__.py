"""The OpenAI-compatible endpoint: answers from the cache, and from the server behind it otherwise."""
