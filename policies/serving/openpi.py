"""openpi's side of a conversation (see `vlagym.policies.remote.openpi` for the protocol and its sources).

A connection is an episode. A client that says ``session_id``, as those of RoboArena and vLLM-Omni do, begins another with a new
one, and may ask for ``endpoint`` "reset".
"""

from __future__ import annotations

import time
import traceback
from typing import Any

from websockets.asyncio.server import ServerConnection

from ...errors import VlagymError
from ..remote.errors import WireError
from ..remote.openpi import decode, encode
from .desk import Desk
from .served import Request

_CLOSE_CODE, _CLOSE_REASON = 1011, "Internal server error. Traceback included in previous frame."


async def converse(connection: ServerConnection, desk: Desk, name: str) -> None:
    """Speak with a client until it leaves.

    Args:
        connection: Just opened.
        desk: Where answers come from.
        name: Of the connection.
    """
    conversation = _Conversation(desk, name)
    await connection.send(encode(dict(desk.served.metadata)))
    total_ms: float | None = None
    try:
        async for frame in connection:
            began = time.monotonic()
            try:
                reply = await conversation.answer(frame)
            except Exception as error:  # told to the client, as openpi's server does
                await connection.send(str(error) if isinstance(error, VlagymError) else traceback.format_exc())
                await connection.close(_CLOSE_CODE, _CLOSE_REASON)
                return
            if isinstance(reply, dict):
                reply["server_timing"] = {"infer_ms": 1000 * (time.monotonic() - began)}
                if total_ms is not None:
                    reply["server_timing"]["prev_total_ms"] = total_ms
            await connection.send(reply if isinstance(reply, str) else encode(reply))
            total_ms = 1000 * (time.monotonic() - began)
    finally:
        await conversation.end()


class _Conversation:
    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._name = name
        self._session: object = None
        self._episode: str | None = None
        self._step = 0

    async def answer(self, frame: bytes | str) -> dict[str, Any] | str:
        if isinstance(frame, str):
            raise WireError("a binary frame was expected; got a text.")
        request = decode(frame)
        if not isinstance(request, dict) or not all(isinstance(key, str) for key in request):
            raise WireError("an observation must be a map whose keys are texts.")
        endpoint, session = request.pop("endpoint", "infer"), request.pop("session_id", self._session)
        if endpoint not in ("infer", "reset"):
            raise WireError(f"endpoint {endpoint!r} is not known; infer and reset are.")
        if endpoint == "reset" or self._episode is None or session != self._session:
            self._session = session
            await self._begin()
        if endpoint == "reset":
            return "reset successful"
        assert self._episode is not None
        actions = await self._desk.act(Request(self._episode, self._step, request))
        self._step += len(actions)
        return {"actions": actions}

    async def _begin(self) -> None:
        await self.end()
        self._episode, self._step = self._desk.episode(self._name if self._session is None else str(self._session)), 0
        await self._desk.reset(self._episode)

    async def end(self) -> None:
        if self._episode is not None:
            episode, self._episode = self._episode, None
            await self._desk.release(episode)
