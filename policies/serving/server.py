"""The server: listens, answers health checks, lets in who has the key, and ends without leaving anyone unanswered."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from ...errors import ConfigError
from . import openpi, vla_eval
from .desk import Desk
from .served import Served, ServedFunction

Protocol = Literal["openpi", "vla_eval"]

_CONVERSE = {"openpi": openpi.converse, "vla_eval": vla_eval.converse}
_MAX_MESSAGE_BYTES = 2**26  # two dozen megapixels: more than any observation has


@dataclass(frozen=True)
class ServerSettings:
    """How to serve.

    Attributes:
        host: Address to listen on; only this machine reaches the default.
        port: 0 for any that is free.
        protocol: Which one is spoken.
        api_key: What clients must send as ``Authorization: Api-Key KEY``; None lets everyone in.
        linger_s: See `Desk`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    protocol: Protocol = "openpi"
    api_key: str | None = None
    linger_s: float = 0.003

    def __post_init__(self) -> None:
        if self.protocol not in _CONVERSE:
            raise ConfigError(f"protocol must be one of {', '.join(_CONVERSE)}; got {self.protocol!r}.")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"port must be a number from 0 to 65535; got {self.port}.")


def serve(
    policy: Served | Callable[[Mapping[str, Any]], Any],
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    protocol: Protocol = "openpi",
    api_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve a policy until SIGINT or SIGTERM.

    Args:
        policy: A function from an observation, as clients send it, to actions float[T, A]; or a `Served` for batches and state.
        port: To listen on; 0 for any that is free.
        host: Address to listen on; only this machine reaches the default.
        protocol: ``openpi`` or ``vla_eval``.
        api_key: What clients must send as ``Authorization: Api-Key KEY``; None lets everyone in.
        metadata: For a function: what openpi's first frame says.
        ready: Told the port when clients can connect.

    Raises:
        ConfigError: A setting has no meaning, or the port is taken.
    """
    served = policy if isinstance(policy, Served) else ServedFunction(policy, metadata or {})
    run(served, ServerSettings(host, port, protocol, api_key), ready)


def run(served: Served, settings: ServerSettings, ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the port when clients can connect.

    Raises:
        ConfigError: The port is taken.
    """
    asyncio.run(_serve_until_signal(served, settings, ready))


async def _serve_until_signal(served: Served, settings: ServerSettings, ready: Callable[[int], None] | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _serve(served, settings, stop, ready)


@contextmanager
def serving(served: Served, settings: ServerSettings) -> Iterator[int]:
    """Serve from a thread of this process while the context lasts; gives the port.

    Raises:
        ConfigError: The port is taken.
    """
    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    ports: list[int] = []
    errors: list[BaseException] = []

    def ready(port: int) -> None:
        ports.append(port)
        started.set()

    def run() -> None:
        try:
            loop.run_until_complete(_serve(served, settings, stop, ready))
        except BaseException as error:  # raised below, in the thread that cares
            errors.append(error)
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    started.wait()
    if errors:
        raise errors[0]
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _serve(served: Served, settings: ServerSettings, stop: asyncio.Event, ready: Callable[[int], None] | None) -> None:
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as listen
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request, Response

    desk = Desk(served, settings.linger_s)
    numbers = itertools.count(1)
    converse = _CONVERSE[settings.protocol]

    async def conversation(connection: ServerConnection) -> None:
        desk.conversations += 1
        try:
            await converse(connection, desk, f"connection-{next(numbers)}")
        except ConnectionClosed:
            return  # the client left without a word
        finally:
            desk.conversations -= 1

    def on_request(connection: ServerConnection, request: Request) -> Response | None:
        page = _page(request.path, desk)
        if page is not None:
            return connection.respond(*page)
        if settings.api_key is not None and not _has_key(request.headers.get("Authorization"), settings.api_key):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the key in `Authorization: Api-Key KEY` is missing or wrong\n")
        return None

    try:
        server = await listen(
            conversation,
            settings.host,
            settings.port,
            compression=None,
            max_size=_MAX_MESSAGE_BYTES,
            ping_interval=None,  # clients that compute between two requests need not answer
            process_request=on_request,
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.") from error
    desk.open()
    if ready is not None:
        ready(next(iter(server.sockets)).getsockname()[1])
    await stop.wait()
    server.close(close_connections=False)  # nobody new
    await desk.finish()
    await asyncio.gather(*(connection.close(1001, "the server ends") for connection in server.connections))
    await server.wait_closed()
    await desk.close()


def _page(path: str, desk: Desk) -> tuple[HTTPStatus, str] | None:
    """What a plain HTTP request is answered; None for a path where conversations begin."""
    route, _, query = path.partition("?")
    if route == "/healthz":
        return HTTPStatus.OK, "OK\n"
    if route == "/health":
        return HTTPStatus.OK, json.dumps({"status": "ok", "connections": desk.conversations, "observations": desk.asked})
    if route == "/config":
        if query:
            return HTTPStatus.UNPROCESSABLE_ENTITY, "this server's settings cannot be changed over the network\n"
        return HTTPStatus.OK, json.dumps({"max_batch_size": desk.served.max_batch})
    return None


def _has_key(header: str | None, key: str) -> bool:
    return header is not None and hmac.compare_digest(header.encode(), f"Api-Key {key}".encode())
