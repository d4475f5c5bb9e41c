"""Takes any key in LiteLLM's proxy; tests/processes/test_litellm.py names it as ``custom_auth``."""

from fastapi import Request
from litellm.proxy._types import UserAPIKeyAuth


async def any_key(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Let everybody in, each under their own key."""
    return UserAPIKeyAuth(api_key=api_key)
