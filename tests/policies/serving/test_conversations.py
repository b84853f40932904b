"""Conversations with our server: recorded requests of the real clients, faults, and what several clients at once may expect."""

from __future__ import annotations

import gzip
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="servers need the extra remote")
pytest.importorskip("msgpack", reason="servers need the extra remote")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vlagym.errors import ConfigError
from vlagym.policies.remote import openpi, vla_eval
from vlagym.policies.serving.served import Request, Served, ServedFunction
from vlagym.policies.serving.server import ServerSettings, serving

CHUNK = 4


class Counting(Served):
    """Answers an episode's k-th question with actions of k; keeps what it was told."""

    name = "counting"

    def __init__(self) -> None:
        self.metadata = {"observation_params": {"send_state": True}, "colour": "blue"}
        self.counts: dict[str, int] = {}
        self.batches: list[int] = []
        self.steps: list[int] = []
        self.released: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def reset(self, episode: str) -> None:
        self.counts[episode] = 0

    def act(self, requests: Sequence[Request]) -> list[np.ndarray]:
        self.gate.wait(30)
        self.batches.append(len(requests))
        chunks = []
        for request in requests:
            if "fail" in (request.observation.get("prompt"), request.observation.get("task_description")):
                raise KeyError("images")
            self.steps.append(request.step)
            self.counts[request.episode] += 1
            chunks.append(np.full((CHUNK, 7), self.counts[request.episode], np.float64))
        return chunks

    def release(self, episode: str) -> None:
        self.released.append(episode)
        del self.counts[episode]

    def close(self) -> None:
        self.closed = True


@contextmanager
def client(port: int, **headers: str) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{port}", compression=None, additional_headers=headers, open_timeout=30) as connection:
        yield connection


def ask(connection: ClientConnection, **observation: Any) -> Any:
    connection.send(openpi.encode(observation))
    answer = connection.recv(timeout=30)
    return openpi.decode(answer) if isinstance(answer, bytes) else answer


def tell(connection: ClientConnection, message: bytes) -> dict[str, Any]:
    connection.send(message)
    return vla_eval.decode(connection.recv(timeout=30))


@pytest.fixture
def recorded(golden: Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        data = (golden / "remote" / name).read_bytes()
        return gzip.decompress(data) if name.endswith(".gz") else data

    return read


def test_openpi_requests_as_recorded_are_answered(recorded: Callable[[str], bytes]) -> None:
    with serving(Counting(), ServerSettings(port=0)) as port, client(port) as connection:
        assert openpi.decode(connection.recv(timeout=30)) == Counting().metadata
        replies = []
        for name in ("request_libero.client.msgpack.gz", "request_scalars.client.msgpack"):
            connection.send(recorded(f"openpi/{name}"))
            replies.append(openpi.decode(connection.recv(timeout=30)))
        assert [reply["actions"].tolist() for reply in replies] == [np.full((CHUNK, 7), k).tolist() for k in (1, 2)]
        assert set(replies[0]["server_timing"]) == {"infer_ms"}
        assert set(replies[1]["server_timing"]) == {"infer_ms", "prev_total_ms"}


def test_an_error_over_openpi_is_a_text_and_the_end(recorded: Callable[[str], bytes]) -> None:
    with serving(Counting(), ServerSettings(port=0)) as port:
        with client(port) as connection:
            connection.recv(timeout=30)
            error = ask(connection, prompt="fail")
            assert isinstance(error, str)
            assert "KeyError: 'images'" in error
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
            assert closed.value.rcvd.reason in recorded("openpi/connection.json").decode()
        with client(port) as connection:
            connection.recv(timeout=30)
            assert ask(connection, prompt="go on")["actions"].shape == (CHUNK, 7)


@pytest.mark.parametrize("message", [b"\xc1", b"\x93\x01\x02", b"", "text", openpi.encode({"endpoint": "explode"})])
def test_what_is_no_observation_is_refused_in_words(message: bytes | str) -> None:
    served = Counting()
    with serving(served, ServerSettings(port=0)) as port, client(port) as connection:
        connection.recv(timeout=30)
        connection.send(message)
        answer = connection.recv(timeout=30)
        assert isinstance(answer, str)
        assert "Traceback" not in answer
    assert served.batches == []


def test_a_recorded_conversation_of_vla_eval_is_answered(recorded: Callable[[str], bytes]) -> None:
    served = Counting()
    with serving(served, ServerSettings(port=0, protocol="vla_eval")) as port, client(port) as connection:
        hello = tell(connection, recorded("vla_eval/hello.client.msgpack"))
        theirs = vla_eval.decode(recorded("vla_eval/hello.server.msgpack"))
        assert (hello["type"], hello["seq"]) == (theirs["type"], theirs["seq"])
        assert {key: hello["payload"][key] for key in ("harness_version", "protocol_version", "capabilities")} == {
            key: theirs["payload"][key] for key in ("harness_version", "protocol_version", "capabilities")
        }
        assert hello["payload"]["observation_params"] == {"send_state": True}
        connection.send(recorded("vla_eval/episode_start.client.msgpack"))
        names = ["observation_png.client.msgpack", *["observation_raw.client.msgpack.gz"] * CHUNK]
        answers = [tell(connection, recorded(f"vla_eval/{name}")) for name in names]
        assert [answer["payload"]["actions"].tolist() for answer in answers] == [[1.0] * 7] * CHUNK + [[2.0] * 7]
        assert answers[0]["seq"] == vla_eval.decode(recorded("vla_eval/observation_png.client.msgpack"))["seq"]
        restart = vla_eval.encode("observation", {"images": {}, "task_description": "x", "episode_restart": True}, 60, 0.0)
        assert tell(connection, restart)["payload"]["actions"].tolist() == [1.0] * 7
        assert served.steps == [0, CHUNK, CHUNK + 1]
        connection.send(recorded("vla_eval/episode_end.client.msgpack"))
        error = tell(connection, recorded("vla_eval/observation_fail.client.msgpack"))
        assert error["payload"] == vla_eval.decode(recorded("vla_eval/error.server.msgpack"))["payload"]
        assert tell(connection, recorded("vla_eval/observation_png.client.msgpack"))["type"] == "action"
        connection.send(recorded("vla_eval/nonsense.client.msgpack"))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
    assert len(served.released) == 2


def test_what_several_clients_ask_at_a_time_is_one_batch_and_each_has_its_own_episode() -> None:
    served = Counting()
    with serving(served, ServerSettings(port=0, linger_s=5.0)) as port, ThreadPoolExecutor(4) as threads:
        ready = threading.Barrier(4)

        def three_questions(_: int) -> list[float]:
            with client(port) as connection:
                connection.recv(timeout=30)
                ready.wait(30)
                answers = [ask(connection, prompt="x")["actions"][0, 0] for _ in range(3)]
                ready.wait(30)
                return answers

        assert list(threads.map(three_questions, range(4))) == [[1.0, 2.0, 3.0]] * 4
    assert served.batches == [4, 4, 4]
    assert served.counts == {}


def test_clients_that_were_answered_in_groups_come_together() -> None:
    """Two groups, of which each would wait while the other is answered, are one before long."""
    served = Counting()
    answered = served.act
    served.act = lambda requests: (time.sleep(0.4), answered(requests))[1]  # type: ignore[method-assign]
    with serving(served, ServerSettings(port=0)) as port, ThreadPoolExecutor(4) as threads:

        def questions(number: int) -> None:
            with client(port) as connection:
                connection.recv(timeout=30)
                time.sleep(0.6 * (number % 2))
                for _ in range(6):
                    ask(connection, prompt="x")

        list(threads.map(questions, range(4)))
    assert sum(served.batches) == 24
    assert 4 in served.batches[:-1]  # never if they stayed apart


def test_a_new_session_is_a_new_episode() -> None:
    with serving(Counting(), ServerSettings(port=0)) as port, client(port) as connection:
        connection.recv(timeout=30)
        counts = [ask(connection, prompt="x", session_id=session)["actions"][0, 0] for session in ("a", "a", "b")]
        assert ask(connection, endpoint="reset", session_id="b") == "reset successful"
        counts.append(ask(connection, prompt="x", session_id="b", endpoint="infer")["actions"][0, 0])
    assert counts == [1, 2, 1, 1]


def test_a_busy_policy_keeps_nobody_out_and_a_stopped_server_answers_what_was_asked() -> None:
    served = Counting()
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        with serving(served, ServerSettings(port=0)) as port:
            served.gate.clear()
            busy = stack.enter_context(client(port))
            busy.recv(timeout=30)
            busy.send(openpi.encode({"prompt": "x"}))
            while _page(port, "health")[1].find('"observations": 1') < 0:
                time.sleep(0.01)
            assert _page(port, "healthz") == (200, "OK\n")
            with client(port) as another:
                assert openpi.decode(another.recv(timeout=30))["colour"] == "blue"
            busy.ping().wait(30)
            answer = thread.submit(busy.recv, timeout=30)
            threading.Timer(0.3, served.gate.set).start()
        reply = answer.result()
        assert isinstance(reply, bytes)
        assert openpi.decode(reply)["actions"].shape == (CHUNK, 7)
    assert served.closed


def test_only_who_has_the_key_is_let_in_and_settings_are_not_changed_from_outside() -> None:
    with serving(Counting(), ServerSettings(port=0, api_key="secret")) as port:
        for headers in ({}, {"Authorization": "Api-Key other"}):
            with pytest.raises(InvalidStatus, match="401"), client(port, **headers):
                pass
        with client(port, Authorization="Api-Key secret") as connection:
            assert connection.recv(timeout=30)
        assert _page(port, "config?max_batch_size=8")[0] == 422
        assert _page(port, "healthz") == (200, "OK\n")


def test_what_a_client_would_have_to_refuse_is_not_sent() -> None:
    for answer, why in (
        (np.full((2, 7), np.nan), "not finite"),
        (np.zeros((0, 7)), "are expected"),
        (np.array("x"), "are expected"),
    ):
        with (
            serving(ServedFunction(lambda _, answer=answer: answer, {}), ServerSettings(port=0)) as port,
            client(port) as connection,
        ):
            connection.recv(timeout=30)
            assert why in ask(connection, prompt="x")


def test_a_port_that_is_taken_is_named() -> None:
    with serving(Counting(), ServerSettings(port=0)) as port:
        taken = serving(Counting(), ServerSettings(port=port))
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            taken.__enter__()


def _page(port: int, name: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
