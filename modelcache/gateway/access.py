"""Who may use the gateway, where callers need keys of the cache's own."""

from modelcache.access.gate import READ, WRITE, Caller
from modelcache.core import Service
from modelcache.gateway.messages import HttpRequest

# Beside the key of the server behind, which is in the header that this server wants.
KEY_HEADER = "x-modelcache-key"


def admitted(service: Service, request: HttpRequest) -> Caller:
    """Return who asks; UnauthorizedError where the key is not valid.

    Where the service has the key of the server behind, a caller may put its own into ``Authorization``.
    """
    key = request.header(KEY_HEADER)
    if key:
        return service.gate.admit(f"Bearer {key}")
    has_theirs = bool(service.settings.upstream_api_key.get_secret_value())
    return service.gate.admit(request.header("authorization") if has_theirs else "")


def permit_chat(caller: Caller, model: str, size: int) -> None:
    """Return if the caller may have an answer looked up and kept.

    Raises ForbiddenError or TooManyError.
    """
    caller.permit(READ, model, size=size, inserts=1)
    caller.allow(WRITE, model)
