"""One conversation with a server, whatever its wire format: connecting with patience, asking, and starting anew when it broke.

After a time-out the connection is closed, because a late answer would be taken for that of the next question. A server that broke
off and keeps no state of episodes is asked again on a new connection; otherwise the episode is lost and has to begin anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import PolicyError
from ..base import SeatLostError
from .arrays import Array
from .base import Channel, Question, Wire
from .errors import LinkError, OverdueError, WireError

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_MOST_TRIES = 4  # a server that goes away may accept connections to the end and break them off


class Link:
    """A connection to a server, made when it is needed and made anew when it broke.

    Args:
        url: For messages.
        connect: Opens a channel; raises `LinkError`.
        wire: The format; used for this connection alone.
        patience_s: How long to go on trying to reach a server that is not there.
    """

    def __init__(self, url: str, connect: Callable[[], Channel], wire: Wire, patience_s: float) -> None:
        self._url, self._connect, self._wire, self._patience_s = url, connect, wire, patience_s
        self._channel: Channel | None = None
        self._facts: dict[str, Any] | None = None
        self._closed = False

    def facts(self) -> dict[str, Any]:
        """What the server says of itself; connects if there is no connection.

        Raises:
            PolicyError: It cannot be reached, or is of another kind.
        """
        try:
            self._open_channel()
        except LinkError as error:
            raise PolicyError(f"{self._url}: {error}. Start the server, or correct policy.url.") from error
        assert self._facts is not None
        return self._facts

    def ask(self, questions: Sequence[Question], fresh: Sequence[Question]) -> list[Array]:
        """One chunk per question.

        Args:
            questions: What to ask.
            fresh: Those of them whose episode, or subtask, begins.

        Raises:
            SeatLostError: The server could not be reached, did not answer in time, or broke off.
            PolicyError: It answered nonsense, reported a failure, or is not the one that it was.
        """
        tries = 1 if self._wire.stateful and len(fresh) < len(questions) else _MOST_TRIES
        for attempt in range(tries):
            try:
                channel = self._open_channel()
                for question in fresh:
                    self._wire.begin(channel, question)
                return self._wire.ask(channel, questions)
            except LinkError as error:
                self.drop()
                if attempt == tries - 1 or isinstance(error, OverdueError):
                    raise SeatLostError(f"{self._url}: {error}.") from error
                time.sleep(_FIRST_WAIT_S * 2**attempt)
            except WireError as error:
                self.drop()  # what else may come on it belongs to no question
                raise PolicyError(f"{self._url}: {error}") from error
        raise AssertionError("the last attempt either answers or raises")

    def end(self, episode_id: str) -> None:
        """Tell the server that an episode is over, if it cares and is there."""
        if self._channel is not None:
            try:
                self._wire.end(self._channel, episode_id)
            except LinkError:
                self.drop()

    def drop(self) -> None:
        """Close the connection; the next question opens another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """Close it for good; also from another thread while it is being used."""
        self._closed = True
        self.drop()

    def _open_channel(self) -> Channel:
        """The connection that there is, or a new one: waits for a server that is (re)started, longer from one try to the next."""
        deadline, wait_s = time.monotonic() + self._patience_s, _FIRST_WAIT_S
        while self._channel is None:
            channel: Channel | None = None
            try:
                if self._closed:
                    raise PolicyError(f"{self._url}: the policy has been closed.")
                channel = self._connect()
                facts = self._wire.open(channel)
            except LinkError:
                if channel is not None:
                    channel.close()
                if time.monotonic() + wait_s > deadline:
                    raise
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            except WireError as error:
                if channel is not None:
                    channel.close()
                raise PolicyError(f"{self._url}: {error}") from error
            else:
                self._check_same(facts, channel)
                self._channel = channel
        return self._channel

    def _check_same(self, facts: dict[str, Any], channel: Channel) -> None:
        if self._facts not in (None, facts):
            channel.close()
            raise PolicyError(
                f"{self._url}: the server that answers now is another than before ({_difference(self._facts or {}, facts)}). "
                "Bring back the one that the run began with, or start a new run."
            )
        self._facts = facts


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return f"{names[0]}: {str(before.get(names[0]))[:150]} -> {str(after.get(names[0]))[:150]}"
