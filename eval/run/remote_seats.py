"""A policy whose copies live in processes of their own, one per seat (``policy.devices=[0,1]``); the main process has none.

Each seat is driven by its thread in `seats`. One that dies has forgotten its episodes, which are run again, and is replaced when it
is next asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...edges.text import differences
from ...envs.suite import Suite
from ...errors import ConfigError, PolicyError
from ...policies.base import Chunk, Policy, PolicyObservation, SeatLostError
from .channel import Channel
from .launcher import Launcher, Process
from .seat_process import Answered, Asked, Described, Raised, seat_main

_CLOSE_TIMEOUT_S = 10.0
_MOST_STARTS = 10  # of a seat that ends before it is there
_LAST_BREATH_S = 2.0  # from a closed socket to the exit code of the process behind it


class RemoteSeats(Policy):
    """The policy that the runner knows, which asks its seats; asked itself, it answers by the first.

    Args:
        settings: Of the policy, without ``devices``.
        suite: What it is for.
        devices: One per seat: ``cpu``, the number of a GPU, or None for what the launcher gives.
        launcher: Starts the processes.

    Attributes:
        batch_record: Of `vlagym.policies.audit`, as the first seat found it.

    Raises:
        ConfigError: The copies are not made of the same.
        PolicyError: One of them cannot be built.
    """

    def __init__(self, settings: Mapping[str, Any], suite: Suite, devices: Sequence[str | None], launcher: Launcher) -> None:
        self._seats = [RemoteSeat(number, settings, suite, device, launcher) for number, device in enumerate(devices)]
        try:
            for seat in self._seats:  # all load at the same time
                seat.begin()
            said = [seat.first_described() for seat in self._seats]
        except BaseException:  # raised again: whatever it was, no process stays behind
            self.close()
            raise
        first = said[0]
        for number, other in enumerate(said):
            if other.provenance != first.provenance:
                self.close()
                found = differences(first.provenance, other.provenance)
                raise ConfigError(f"the copies of the policy are not the same: seat 0 and seat {number} differ in {found}.")
        self.action_spec, self.cameras = first.action_spec, first.cameras
        self.needs_privileged_state, self.precise_state = first.needs_privileged_state, first.precise_state
        self.max_batch, self.batch, self.max_episodes = first.max_batch, first.batch, first.max_episodes
        self.batch_record = first.batch_record
        self._provenance = first.provenance

    def seats(self, at_once: int) -> Sequence[Policy]:
        return self._seats

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._seats[0].reset(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return self._seats[0].act(observations)

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return self._seats[0].done(episode_ids)

    def release(self, episode_ids: Sequence[str]) -> None:
        self._seats[0].release(episode_ids)

    def provenance(self) -> dict[str, Any]:
        return self._provenance

    def close(self) -> None:
        for seat in self._seats:
            seat.hang_up()
        for seat in self._seats:
            seat.end()


class RemoteSeat(Policy):
    """The main process's side of one seat."""

    def __init__(self, number: int, settings: Mapping[str, Any], suite: Suite, device: str | None, launcher: Launcher) -> None:
        where = "" if device is None else " on the CPU" if device == "cpu" else f" on GPU {device}"
        self._name = f"seat {number} of the policy{where}"
        self._arguments = settings, device, suite
        self._launcher = launcher
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._loaded, self._failed_starts = False, 0
        self._over: list[str] = []
        self._fresh: list[str] = []
        self._done: list[bool] = []
        self.action_spec = suite.action_spec

    def begin(self) -> None:
        """Start the process, which loads the policy."""
        on_gpu = self._arguments[1] != "cpu"
        self._process, self._channel = self._launcher.start(self._name, seat_main, *self._arguments, gpu=on_gpu)
        self._loaded = False

    def described(self) -> Described:
        """Wait until it is loaded.

        Raises:
            PolicyError: It cannot be.
            RunError: There is no room for it.
            EOFError, OSError: Its process ended.
        """
        assert self._process is not None
        self._process.await_place()
        said = self._receive()
        assert isinstance(said, Described)
        self._loaded, self._failed_starts = True, 0
        return said

    def first_described(self) -> Described:
        """Likewise, where nothing has been run yet: one that ends now is not replaced.

        Raises:
            PolicyError: It cannot be loaded.
            RunError: There is no room for it.
        """
        try:
            return self.described()
        except (EOFError, OSError) as error:
            raise PolicyError(f"{self._named()} {self._gone()} while it was loaded.") from error

    @property
    def absent(self) -> bool:
        process = self._process
        if process is None or process.started is not None:
            return False
        if not process.alive:  # it was to be put on a machine that was about to be lost
            self._failed_starts += 1
            reason = process.end_reason()
            if self._failed_starts >= _MOST_STARTS:
                raise PolicyError(f"{self._name} could not be started {self._failed_starts} times in a row; the last {reason}")
            self.begin()
        return True

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._fresh += episode_ids

    def release(self, episode_ids: Sequence[str]) -> None:
        self._over += episode_ids

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        if self._process is None:
            self.begin()
        asked, self._over, self._fresh = Asked(self._over, self._fresh, list(observations)), [], []
        try:
            if not self._loaded:
                self.described()
            assert self._channel is not None
            self._channel.send(asked)
            answer = self._receive()
        except (EOFError, OSError) as error:
            raise SeatLostError(f"{self._named()} {self._lost()}") from error
        assert isinstance(answer, Answered)
        self._done = answer.done
        return answer.chunks

    def done(self, episode_ids: Sequence[str]) -> list[bool]:
        return self._done

    def hang_up(self) -> None:
        """Let the process leave by itself."""
        if self._channel is not None:
            self._channel.close()

    def end(self) -> None:
        """Wait for it a while, then end it."""
        process = self._process  # its thread may find it gone meanwhile
        if process is not None:
            process.join(_CLOSE_TIMEOUT_S)
            process.kill()

    def _receive(self) -> Described | Answered:
        assert self._channel is not None
        message: Described | Answered | Raised | None = self._channel.receive()
        if isinstance(message, Raised):
            raise PolicyError(f"{self._named()}: {message.message}")
        assert message is not None  # this end waits for whole messages
        return message

    def _named(self) -> str:
        place = self._process.place if self._process is not None else ""
        return f"{self._name} on {place}" if place else self._name

    def _lost(self) -> str:
        """Why the process is gone; another one is started by the next question, or now where it has to find a place first."""
        reason = self._gone()
        if self._launcher.elsewhere:
            self.begin()
        return reason

    def _gone(self) -> str:
        """Why the process is gone."""
        process, channel = self._process, self._channel
        assert process is not None
        assert channel is not None
        channel.close()
        process.join(_LAST_BREATH_S)
        reason = process.end_reason()
        process.kill()
        self._process, self._channel = None, None
        self._over, self._fresh = [], []
        return reason
