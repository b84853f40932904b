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

# Clients that have just been answered ask again soon. If they were not waited for, they would fall into groups that are answered in
# turn, each of which waits while another one is: half the throughput, for good. So they get this share of what their batch took.
_SHARE_FOR_RETURNING = 0.5
_LONGEST_FOR_RETURNING_S = 1.0


class Desk:
    """Takes requests and gives chunks.

    Args:
        served: What answers.
        linger_s: How long a request waits for those of other connections, so that they are answered as one batch; for connections
            that have just been answered longer, up to half of what that took. 0: it waits for nobody.

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
        self._returning = 0  # how many of those who were answered last have not asked again
        self._returning_until = 0.0
        self._answering: set[asyncio.Task[None]] = set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to answer; in the running event loop."""
        self._task = asyncio.create_task(self._work())

    async def finish(self) -> None:
        """Answer what has been asked, and take no more."""
        self._closing = True
        while self._unanswered and self._task and not self._task.done():
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End, when all conversations have."""
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
        self._returning = max(0, self._returning - 1)
        self._waiting.put_nowait((request, future))
        try:
            return await future
        finally:
            self._unanswered -= 1

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _work(self) -> None:
        while True:
            answering = asyncio.create_task(self._answer(await self._collect()))
            if self.served.max_batch == 1:  # the thread finds its next question there already
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)
            else:
                await answering

    async def _answer(self, batch: list[tuple[Request, asyncio.Future[Array]]]) -> None:
        requests = [request for request, _ in batch]
        self.asked += len(batch)
        self.batches += 1
        began = time.monotonic()
        try:
            chunks = await self._in_thread(lambda: self._act(requests))
        except Exception as error:  # each conversation tells its client
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        now = time.monotonic()
        self._returning, self._returning_until = len(batch), now + self._patience_s(now - began)
        for (_, future), chunk in zip(batch, chunks, strict=True):
            if not future.done():
                future.set_result(chunk)

    def _patience_s(self, took_s: float) -> float:
        """How long to wait for those who have been answered by a batch."""
        return min(_SHARE_FOR_RETURNING * took_s, _LONGEST_FOR_RETURNING_S) if self._linger_s else 0.0

    def _act(self, requests: list[Request]) -> list[Array]:
        began = time.perf_counter()
        chunks = checked(self.served.act(requests), requests, self.served.name)
        _log.debug("%d observations in %.1f ms", len(requests), 1000 * (time.perf_counter() - began))
        return chunks

    async def _collect(self) -> list[tuple[Request, asyncio.Future[Array]]]:
        """The next batch: whoever has asked, and whoever asks in time (see `Desk`), unless all have or the batch is full."""
        batch = [await self._waiting.get()]
        lingers_until = time.monotonic() + self._linger_s
        most = min(self.served.max_batch or self.conversations, self.conversations)
        while len(batch) < most:
            try:
                batch.append(self._waiting.get_nowait())
            except asyncio.QueueEmpty:
                until = max(lingers_until, self._returning_until) if self._returning else lingers_until
                left = until - time.monotonic()
                if left <= 0:
                    break
                try:
                    batch.append(await asyncio.wait_for(self._waiting.get(), left))
                except asyncio.TimeoutError:
                    break
        return batch
