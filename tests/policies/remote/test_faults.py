"""A server that is not there, dies, falls silent or answers nonsense: one clear error each, and nothing of it is executed."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import Server, ServerConnection, serve

from vlagym.envs.registry import make_suite
from vlagym.errors import PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import PolicyObservation, SeatLostError
from vlagym.policies.registry import make_policy
from vlagym.policies.remote import openpi

CHUNK = np.arange(70, dtype=np.float64).reshape(10, 7) / 100
Answer = Callable[[ServerConnection, int], None]


class OpenpiServer:
    """Speaks openpi; what it answers to the n-th request of its life is the test's to say."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self._answer, self.asked, self.open = answer, 0, []
        self._server: Server = serve(self._talk, "127.0.0.1", port, compression=None, max_size=None)
        self.port = int(self._server.socket.getsockname()[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _talk(self, connection: ServerConnection) -> None:
        self.open.append(connection)
        connection.send(openpi.encode({}))
        for request in connection:
            openpi.decode(request)
            self.asked += 1
            self._answer(connection, self.asked)

    def stop(self) -> None:
        self._server.shutdown()
        for connection in self.open:
            connection.close()
        self._thread.join(10)


@pytest.fixture
def started() -> Iterator[Callable[..., OpenpiServer]]:
    servers: list[OpenpiServer] = []

    def start(answer: Answer, port: int = 0) -> OpenpiServer:
        servers.append(OpenpiServer(answer, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def observation() -> PolicyObservation:
    image = np.zeros((256, 256, 3), np.uint8)
    return {
        "images": {"primary": image, "wrist": image},
        "state": np.zeros(8),
        "instruction": "do it",
        "episode_id": "libero_goal/t/0/0",
        "step": 0,
    }


def client(port: int, **settings: Any) -> Any:
    leg = composed()
    return make_policy({**leg.policy, "url": f"ws://127.0.0.1:{port}", "patience_s": 5, **settings}, make_suite(leg.suite))


@functools.cache
def composed() -> Any:
    return load_config(["suite=libero_goal", "policy=openpi"]).legs[0]


def send(**reply: Any) -> Answer:
    return lambda connection, _: connection.send(openpi.encode(reply))


def test_answers_are_cut_to_what_is_executed(started: Any, observation: PolicyObservation) -> None:
    policy = client(started(send(actions=CHUNK)).port)
    policy.reset([observation["episode_id"]])
    np.testing.assert_array_equal(policy.act([observation])[0], CHUNK[:5])
    assert policy.provenance()["server"]["dialect"] == "openpi"
    assert len(policy.seats(8)) == 2  # one is answered while the next request arrives
    policy.close()


NONSENSE: dict[str, tuple[Answer, str]] = {
    "not a number": (send(actions=np.where(CHUNK == 0.1, np.nan, CHUNK)), "not finite"),
    "too narrow": (send(actions=CHUNK[:, :6]), "actions of 6 numbers; the recipe expects 7"),
    "too short": (send(actions=CHUNK[:4]), "has 4 actions; the recipe executes 5"),
    "a traceback": (lambda connection, _: connection.send("Traceback ...\nKeyError: 'x'"), "KeyError: 'x'"),
    "a truncated frame": (
        lambda connection, _: connection.send(openpi.encode({"actions": CHUNK})[:-9]),
        "cannot be read as msgpack",
    ),
    "objects": (
        lambda connection, _: connection.send(openpi.encode({"actions": CHUNK}).replace(b"<f8", b"|O8")),
        "only plain numbers",
    ),
    "a header of 2 GB": (lambda connection, _: connection.socket.sendall(b"\x82\x7f" + (2**31).to_bytes(8, "big")), "larger than"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_one_clear_error(started: Any, observation: PolicyObservation, what: str) -> None:
    answer, words = NONSENSE[what]
    policy = client(started(answer).port)
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match=words):
        policy.act([observation])
    policy.close()


def test_a_server_that_comes_back_is_asked_again(started: Any, observation: PolicyObservation) -> None:
    first = started(lambda connection, n: connection.close())
    policy = client(first.port)
    policy.reset([observation["episode_id"]])

    def restart() -> None:
        while not first.asked:
            time.sleep(0.01)
        first.stop()
        started(send(actions=CHUNK), first.port)

    thread = threading.Thread(target=restart)
    thread.start()
    np.testing.assert_array_equal(policy.act([observation])[0], CHUNK[:5])
    thread.join()
    policy.close()


def test_a_silent_server_loses_the_episode_and_its_late_answer_is_nobodys(started: Any, observation: PolicyObservation) -> None:
    def answer(connection: ServerConnection, n: int) -> None:
        if n == 1:
            time.sleep(2)
        connection.send(openpi.encode({"actions": CHUNK + n}))

    policy = client(started(answer).port, timeout_s=1)
    policy.reset([observation["episode_id"]])
    with pytest.raises(SeatLostError, match="no answer for 1 s"):
        policy.act([observation])
    policy.reset([observation["episode_id"]])
    np.testing.assert_array_equal(policy.act([observation])[0], CHUNK[:5] + 2)
    policy.close()


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(PolicyError, match=r"ws://127.0.0.1:9: no websocket server answers"):
        client(9, patience_s=0.5)
