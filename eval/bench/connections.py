"""How fast a policy answers through several seats at once: `vla-eval bench policy=NAME policy.url=...` times a server.

Every connection asks again as soon as it has its answer, so observations per second over the number of connections shows whether a
server batches, queues, or is limited by the transport.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from ...envs.suite import Suite
from ...episode import EpisodeSpec
from ...errors import ConfigError
from ...policies.base import Policy, checked_chunks
from ...policies.made_up import made_up_observations

_DIFFERENT = 4  # observations that are made up beforehand; nobody answers sooner for having seen one


@dataclass(frozen=True)
class ConnectionTiming:
    """How long answers took with so many connections.

    Attributes:
        connections: Seats that asked at the same time.
        calls: Questions that were timed, of all together.
        p50_ms: Median time of an answer.
        p95_ms: Time within which 95 % of the answers came.
        p99_ms: Likewise 99 %.
        observations_per_second: Of all connections together.
        client_cpu_ms: Processor time of this process per observation.
        call_ms: Time of every timed answer, in the order in which they came.
    """

    connections: int
    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    observations_per_second: float
    client_cpu_ms: float
    call_ms: tuple[float, ...]


def measure_connections(
    policy: Policy, suite: Suite, connections: Sequence[int], calls: int, warm_up: int
) -> list[ConnectionTiming]:
    """Time a policy's answers for each number of seats.

    Args:
        policy: Any policy that needs no privileged state; has as many seats as it gives (`Policy.seats`), at most those asked for.
        suite: Whose observations to make up.
        connections: Numbers of seats.
        calls: Questions of each seat to time.
        warm_up: Questions of each seat before that.

    Raises:
        ConfigError: A setting has no meaning.
        PolicyError: The policy broke its contract.
        SeatLostError: A connection was lost.
    """
    if not connections or min(connections) < 1 or calls < 1 or warm_up < 0:
        raise ConfigError(f"connections must be numbers from 1, calls from 1; got {list(connections)}, {calls}, {warm_up}.")
    return [_measure(policy, suite, count, calls, warm_up) for count in connections]


def _measure(policy: Policy, suite: Suite, count: int, calls: int, warm_up: int) -> ConnectionTiming:
    seats = list(policy.seats(count))[:count]
    start = threading.Barrier(len(seats) + 1)
    seconds: list[float] = []
    errors: list[BaseException] = []

    def ask(number: int, seat: Policy) -> None:
        episode = EpisodeSpec(suite.name, "bench", number).id
        try:
            made_up = [made_up_observations(policy, suite, [episode], number) for number in range(_DIFFERENT)]
            seat.reset([episode])
            for call in range(-warm_up, calls):
                if call == 0:
                    start.wait()
                observations = made_up[call % _DIFFERENT]
                began = time.perf_counter()
                chunks = seat.act(observations)
                if call >= 0:
                    seconds.append(time.perf_counter() - began)
                checked_chunks(policy, suite, observations, chunks)
            seat.release([episode])
        except BaseException as error:  # raised below, in the main thread
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=ask, args=(number, seat), daemon=True) for number, seat in enumerate(seats)]
    for thread in threads:
        thread.start()
    try:
        start.wait()
    except threading.BrokenBarrierError:
        raise errors[0] from None
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    took, used = time.perf_counter() - began, time.process_time() - cpu
    p50, p95, p99 = (1000 * float(np.percentile(seconds, p)) for p in (50, 95, 99))
    asked = len(seconds)
    call_ms = tuple(1000 * second for second in seconds)
    return ConnectionTiming(len(seats), asked, p50, p95, p99, asked / took, 1000 * used / asked, call_ms)


def connection_table(timings: Sequence[ConnectionTiming]) -> Table:
    """One row per number of connections."""
    table = Table("connections", "p50 ms", "p95 ms", "p99 ms", "observations/s", "against the first", "CPU ms here per observation")
    for timing in timings:
        table.add_row(
            str(timing.connections),
            f"{timing.p50_ms:.1f}",
            f"{timing.p95_ms:.1f}",
            f"{timing.p99_ms:.1f}",
            f"{timing.observations_per_second:.2f}",
            f"{timing.observations_per_second / timings[0].observations_per_second:.2f} x",
            f"{timing.client_cpu_ms:.2f}",
        )
    return table
