"""This cache in LiteLLM's proxy: ``litellm --config examples/litellm.yaml``, which names ``handler``."""

import os

import litellm
from litellm.integrations.custom_logger import CustomLogger

from modelcache.client.litellm import ModelCache

# In place of the one that `cache: true` has just made.
litellm.cache.cache = ModelCache(os.environ.get("MODELCACHE_URL", "http://127.0.0.1:5000"))

handler = CustomLogger()
