"""The address that the service listens on."""

import select
import socket

from modelcache.errors import ConfigError

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; ConfigError says in a sentence why it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # What is accepted inherits it: a reply leaves at once, and does not wait for the client's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {_url(host, port)}: {exc.strerror or exc}") from exc
    return listener


def announce(listener: socket.socket) -> None:
    """Say on stdout where the service listens."""
    host, port = listener.getsockname()[:2]
    print(f"modelcache listens on {_url(host, port)}", flush=True)


def is_awaited(listener: socket.socket) -> bool:
    """Tell whether a client is connected whom nobody has accepted yet."""
    return bool(select.select([listener], [], [], 0)[0])


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
