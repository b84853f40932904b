"""vla-eval's side of a conversation (see `vlagym.policies.remote.vla_eval` for the protocol and its sources).

The server hands out a chunk action by action: an observation is looked at only when the last chunk has been used up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection

from ..remote.errors import WireError
from ..remote.vla_eval import HARNESS_VERSION, PROTOCOL_VERSION, decode, encode
from .desk import Desk
from .served import Array, Request


async def converse(connection: ServerConnection, desk: Desk, name: str) -> None:
    """Speak with a client until it leaves; a message that cannot be read ends the conversation, as vla-eval's server does.

    Args:
        connection: Just opened.
        desk: Where answers come from.
        name: Of the connection.
    """
    conversation = _Conversation(desk, name)
    try:
        async for frame in connection:
            try:
                message = decode(frame)
            except WireError:
                await connection.close(1000)
                return
            for kind, payload in await _replies(conversation, message):
                await connection.send(encode(kind, payload, message["seq"], time.time()))
    finally:
        await conversation.end()


async def _replies(conversation: _Conversation, message: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    kind, payload = message["type"], message["payload"]
    try:
        if kind == "hello":
            return [("hello", conversation.hello(payload))]
        if kind == "observation":
            return [("action", {"actions": await conversation.observe(payload)})]
        if kind == "episode_start":
            await conversation.begin(payload.get("task"))
        elif kind == "episode_end":
            await conversation.end()
    except Exception as error:  # told to the client; the connection stays usable
        return [("error", {"error": f"{kind}_failed: {type(error).__name__}: {error}"})]
    return []


class _Conversation:
    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._name = name
        self._episode: str | None = None
        self._left: list[Array] = []
        self._step = 0

    def hello(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        if payload.get("protocol_version") != PROTOCOL_VERSION:
            raise WireError(
                f"this server speaks version {PROTOCOL_VERSION} of the protocol, not {payload.get('protocol_version')!r}."
            )
        said = {key: self._desk.served.metadata.get(key) for key in ("observation_params", "action_spec", "observation_spec")}
        return {
            "harness_version": HARNESS_VERSION,
            "protocol_version": PROTOCOL_VERSION,
            "model_server": self._desk.served.name,
            "capabilities": {},
            **{key: value for key, value in said.items() if value is not None},
        }

    async def begin(self, task: object) -> None:
        """An episode begins; it is named after what the client says of it, so that its randomness is the same each time."""
        await self.end()
        described = (
            "/".join(f"{task[key]}" for key in ("suite", "task", "episode_idx") if key in task) if isinstance(task, dict) else ""
        )
        self._episode, self._step = self._desk.episode(f"{described}/0" if described else self._name), 0
        await self._desk.reset(self._episode)

    async def observe(self, observation: Mapping[str, Any]) -> Array:
        if self._episode is None:
            await self.begin(None)
        assert self._episode is not None
        if observation.get("episode_restart"):
            self._left = []
            await self._desk.reset(self._episode)
        if not self._left:
            self._left = list(await self._desk.act(Request(self._episode, self._step, observation)))
        self._step += 1
        return self._left.pop(0)

    async def end(self) -> None:
        self._left = []
        if self._episode is not None:
            episode, self._episode = self._episode, None
            await self._desk.release(episode)
