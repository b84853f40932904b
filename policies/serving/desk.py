"""The desk between conversations and the policy: what all connections ask is batched, and one thread does the work.

The event loop never waits for the policy, so handshakes, pings and health checks are answered while it computes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...errors import PolicyError
from .served import Array, Request, Served, checked

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Desk:
    """Takes requests and gives chunks.

    Args:
        served: What answers.
        linger_s: How long a request waits for those of other connections, so that they are answered as one batch.

    Attributes:
        served: What answers.
        conversations: How many clients are connected; a batch is complete when all of them have asked.
        asked: Requests so far.
        batches: Calls of `Served.act` so far.
    """

    def __init__(self, served: Served, linger_s: float) -> None:
        self.served = served
        self.conversations = 0
        self.asked = 0
        self.batches = 0
        self._linger_s = linger_s
        self._thread = ThreadPoolExecutor(1, "policy")
        self._waiting: asyncio.Queue[tuple[Request, asyncio.Future[Array]]] = asyncio.Queue()
        self._episodes: set[str] = set()
        self._unanswered = 0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to answer; in the running event loop."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Answer what has been asked, take no more, then end."""
        self._closing = True
        while self._unanswered and self._task and not self._task.done():
            await asyncio.sleep(0.01)
        if self._task:
            self._task.cancel()
        await self._in_thread(self.served.close)
        self._thread.shutdown()

    def episode(self, wanted: str) -> str:
        """A name for an episode that begins: the wanted one unless another connection has it."""
        name, number = wanted, 1
        while name in self._episodes:
            number += 1
            name = f"{wanted}#{number}"
        self._episodes.add(name)
        return name

    async def reset(self, episode: str) -> None:
        """See `Served.reset`."""
        await self._in_thread(lambda: self.served.reset(episode))

    async def release(self, episode: str) -> None:
        """See `Served.release`."""
        self._episodes.discard(episode)
        await self._in_thread(lambda: self.served.release(episode))

    async def act(self, request: Request) -> Array:
        """The chunk for a request, when its batch has been computed; raises what the policy raised."""
        if self._closing:
            raise PolicyError("the server is ending.")
        future: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        self._unanswered += 1
        self._waiting.put_nowait((request, future))
        try:
            return await future
        finally:
            self._unanswered -= 1

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _work(self) -> None:
        while True:
            batch = await self._collect()
            requests = [request for request, _ in batch]
            self.asked += len(batch)
            self.batches += 1
            try:
                chunks = await self._in_thread(lambda requests=requests: self._act(requests))  # type: ignore[misc]
            except Exception as error:  # each conversation tells its client
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), chunk in zip(batch, chunks, strict=True):
                if not future.done():
                    future.set_result(chunk)

    def _act(self, requests: list[Request]) -> list[Array]:
        began = time.perf_counter()
        chunks = checked(self.served.act(requests), requests, self.served.name)
        _log.debug("%d observations in %.1f ms", len(requests), 1000 * (time.perf_counter() - began))
        return chunks

    async def _collect(self) -> list[tuple[Request, asyncio.Future[Array]]]:
        """The next batch: whoever has asked, and whoever asks within `linger_s`, unless all have or the batch is full."""
        batch = [await self._waiting.get()]
        deadline = time.monotonic() + self._linger_s
        most = min(self.served.max_batch or self.conversations, self.conversations)
        while len(batch) < most:
            try:
                batch.append(self._waiting.get_nowait())
            except asyncio.QueueEmpty:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), left))
                except asyncio.TimeoutError:
                    break
        return batch
