"""As test_faults.py, for servers behind ZMQ and HTTP: one clear error each, and nothing of it is executed."""

from __future__ import annotations

import functools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import zmq

from vlagym.envs.registry import make_suite
from vlagym.errors import PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import PolicyObservation, SeatLostError
from vlagym.policies.registry import make_policy
from vlagym.policies.remote import groot, json_numpy

PARTS = {"x": 1, "y": 1, "z": 1, "roll": 1, "pitch": 1, "yaw": 1, "gripper": 1}
Answer = Callable[[int], Any]


@pytest.fixture
def observation() -> PolicyObservation:
    image = np.zeros((256, 256, 3), np.uint8)
    episode = "libero_goal/turn_on_the_stove/0/0"
    return {
        "images": {"primary": image, "wrist": image},
        "state": np.zeros(8),
        "instruction": "go",
        "episode_id": episode,
        "step": 0,
    }


def client(policy: str, url: str, *overrides: str, **settings: Any) -> Any:
    leg = composed(policy, *overrides)
    return make_policy({**leg.policy, "url": url, "patience_s": 5, **settings}, make_suite(leg.suite))


@functools.cache
def composed(policy: str, *overrides: str) -> Any:
    return load_config(["suite=libero_goal", f"policy={policy}", *overrides]).legs[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class GrootServer:
    """Speaks GR00T's ZMQ protocol; what it answers to the n-th ``get_action`` of its life is the test's to say (None: nothing)."""

    def __init__(self, config: bytes, answer: Answer, port: int) -> None:
        self.asked = 0
        self._config, self._answer, self._end = config, answer, False
        self._socket = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._end:
            if self._socket.poll(50):
                who, empty, frame = self._socket.recv_multipart()
                if groot.decode(frame)["endpoint"] == "get_modality_config":
                    self._socket.send_multipart([who, empty, self._config])
                    continue
                self.asked += 1
                answer = self._answer(self.asked)
                if answer is not None:
                    self._socket.send_multipart([who, empty, *(answer if isinstance(answer, list) else [answer])])
        self._socket.close(0)

    def stop(self) -> None:
        self._end = True
        self._thread.join(10)


def zmq_actions(**changed: Any) -> bytes:
    chunk = {f"action.{name}": np.full((1, 16, size), 0.25, np.float32) for name, size in PARTS.items()}
    return groot.encode([chunk | changed, {}], "msgpack-numpy")


@pytest.fixture
def groot_server(traffic: Callable[[str], bytes]) -> Iterator[Callable[..., str]]:
    servers: list[GrootServer] = []

    def start(answer: Answer, port: int | None = None) -> str:
        port = port or free_port()
        servers.append(GrootServer(traffic("gr00t/n1.7/modality_config.server.msgpack"), answer, port))
        start.servers = servers  # type: ignore[attr-defined]
        return f"tcp://127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop()


ZMQ_NONSENSE: dict[str, tuple[Answer, str]] = {
    "not a number": (lambda _: zmq_actions(**{"action.x": np.full((1, 16, 1), np.nan, np.float32)}), "not finite"),
    "too wide": (
        lambda _: zmq_actions(**{"action.x": np.zeros((1, 16, 2), np.float32)}),
        "actions of 8 numbers; the recipe expects 7",
    ),
    "not the same length": (
        lambda _: zmq_actions(**{"action.x": np.zeros((1, 3, 1), np.float32)}),
        r"actions \[1, T, d\] were expected",
    ),
    "another batch": (
        lambda _: zmq_actions(**{"action.x": np.zeros((2, 16, 1), np.float32)}),
        r"actions \[1, T, d\] were expected",
    ),
    "a part missing": (lambda _: groot.encode([{"action.x": np.zeros((1, 16, 1), np.float32)}, {}], "npy"), "no part 'y'"),
    "an error": (lambda _: groot.encode({"error": "Traceback ...\nCUDA out of memory"}, "npy"), "CUDA out of memory"),
    "an old server's error": (lambda _: b"ERROR", "does not say why"),
    "a truncated frame": (lambda _: zmq_actions()[:-9], "cannot be read as msgpack"),
    "a header of 2 GB": (lambda _: b"\xc6\x80\x00\x00\x00abc", "cannot be read as msgpack"),
    "objects": (lambda _: zmq_actions().replace(b"<f4", b"|O8"), "only plain numbers"),
    "a text": (lambda _: b"Traceback (most recent call last)", "cannot be read as msgpack|no actions"),
    "two parts": (lambda _: [zmq_actions(), b"more"], "has 2 parts; one is expected"),
}


@pytest.mark.parametrize("what", ZMQ_NONSENSE)
def test_nonsense_over_zmq_is_one_clear_error(groot_server: Any, observation: PolicyObservation, what: str) -> None:
    answer, words = ZMQ_NONSENSE[what]
    policy = client("groot", groot_server(answer))
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match=words):
        policy.act([observation])
    policy.close()


def assert_the_episode_is_lost_and_a_late_answer_nobodys(policy: Any, observation: PolicyObservation) -> None:
    """Of a server that answers its first question after 1.5 s, and its second one with 0.5."""
    policy.reset([observation["episode_id"]])
    with pytest.raises(SeatLostError, match="no answer for 1 s"):
        policy.act([observation])
    policy.reset([observation["episode_id"]])
    assert policy.act([observation])[0][0, 0] == 0.5
    policy.close()


def test_a_zmq_server_that_is_silent_loses_the_episode_and_its_late_answer_is_nobodys(
    groot_server: Any, observation: PolicyObservation
) -> None:
    def answer(n: int) -> bytes:
        if n == 1:
            time.sleep(1.5)
        return zmq_actions(**{"action.x": np.full((1, 16, 1), n / 4, np.float32)})

    policy = client("groot", groot_server(answer), timeout_s=1)
    assert_the_episode_is_lost_and_a_late_answer_nobodys(policy, observation)


def test_a_zmq_server_that_comes_back_is_asked_again(groot_server: Any, observation: PolicyObservation) -> None:
    url = groot_server(lambda n: zmq_actions())
    policy = client("groot", url, timeout_s=30)
    policy.reset([observation["episode_id"]])
    policy.act([observation])
    groot_server.servers[0].stop()
    threading.Timer(1.0, lambda: groot_server(lambda n: zmq_actions(), int(url.rpartition(":")[2]))).start()
    assert policy.act([observation])[0].shape == (8, 7)
    policy.close()


def test_a_zmq_message_beyond_the_limit_is_never_taken_in(
    groot_server: Any, observation: PolicyObservation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlagym.policies.remote.channels.MAX_ANSWER_BYTES", 2**16)
    policy = client("groot", groot_server(lambda n: zmq_actions() + bytes(2**17)), timeout_s=1)
    policy.reset([observation["episode_id"]])
    with pytest.raises(SeatLostError, match="no answer for 1 s"):
        policy.act([observation])
    policy.close()


@pytest.mark.parametrize(("policy", "url"), [("groot", "tcp://127.0.0.1:9"), ("openvla_oft_rest", "http://127.0.0.1:9")])
def test_a_server_that_is_not_there_is_named(policy: str, url: str) -> None:
    with pytest.raises(PolicyError, match=f"{url}.*(no ZMQ server is there|no HTTP server answers)"):
        client(policy, url, patience_s=0.5, timeout_s=1)


class HttpServer(ThreadingHTTPServer):
    """Answers the n-th request of its life as the test says: the body, or (status, headers, body), or None to break off."""

    daemon_threads = True

    def __init__(self, answer: Answer, port: int) -> None:
        self.asked, self.answer = 0, answer
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer

    def do_POST(self) -> None:
        json_numpy.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        answer = self.server.answer(self.server.asked)
        if answer is None:
            return
        status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def http_actions(chunk: Any = None) -> bytes:
    rows = np.full((8, 7), 0.25, np.float32) if chunk is None else chunk
    return json_numpy.dumps(list(rows)).encode()


@pytest.fixture
def http_server() -> Iterator[Callable[..., HttpServer]]:
    servers: list[HttpServer] = []

    def start(answer: Answer, port: int = 0) -> HttpServer:
        servers.append(HttpServer(answer, port))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


HTTP_NONSENSE: dict[str, tuple[Answer, str]] = {
    "not a number": (lambda _: http_actions(np.full((8, 7), np.nan, np.float32)), "not finite"),
    "too narrow": (lambda _: http_actions(np.zeros((8, 6), np.float32)), "actions of 6 numbers; the recipe expects 7"),
    "too short": (lambda _: http_actions(np.zeros((3, 7), np.float32)), "has 3 actions; the recipe executes 8"),
    "the word error": (lambda _: b'"error"', 'says only "error"'),
    "a traceback": (lambda _: (500, {}, b"Traceback ...\nKeyError: 'x'"), "status 500: .*KeyError: 'x'"),
    "a text": (lambda _: b"Traceback ...", "is not JSON"),
    "a refusal": (lambda _: (422, {}, b'{"detail": "Input should be a valid dictionary"}'), "valid dictionary"),
    "a cut answer": (lambda _: http_actions()[:-9], "is not JSON"),
    "objects": (lambda _: http_actions().replace(b"<f4", b"|O8"), "only plain numbers"),
    "a huge answer": (lambda _: bytes(65 * 2**20), "larger than 67108864 bytes"),
    "another address": (lambda _: (302, {"Location": "http://127.0.0.1:9/"}, b""), "status 302"),
}


@pytest.mark.parametrize("what", HTTP_NONSENSE)
def test_nonsense_over_http_is_one_clear_error(http_server: Any, observation: PolicyObservation, what: str) -> None:
    answer, words = HTTP_NONSENSE[what]
    policy = client("openvla_oft_rest", f"http://127.0.0.1:{http_server(answer).server_port}")
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match=f"(?s){words}"):
        policy.act([observation])
    policy.close()


@pytest.mark.parametrize("answer", [None, (200, {"Content-Length": str(2**31)}, b"abc"), (200, {"Content-Length": "9999"}, b"abc")])
def test_an_http_answer_that_ends_too_early_is_asked_for_again(
    http_server: Any, observation: PolicyObservation, answer: Any
) -> None:
    server = http_server(lambda n: answer if n == 1 else http_actions())
    policy = client("openvla_oft_rest", f"http://127.0.0.1:{server.server_port}", timeout_s=30)
    policy.reset([observation["episode_id"]])
    assert policy.act([observation])[0].shape == (8, 7)
    assert server.asked == 2
    policy.close()


def test_an_http_server_that_is_silent_loses_the_episode(http_server: Any, observation: PolicyObservation) -> None:
    def answer(n: int) -> bytes:
        if n == 1:
            time.sleep(1.5)
        return http_actions(np.full((8, 7), n / 4, np.float32))

    policy = client("openvla_oft_rest", f"http://127.0.0.1:{http_server(answer).server_port}", timeout_s=1)
    assert_the_episode_is_lost_and_a_late_answer_nobodys(policy, observation)


def test_an_http_server_that_comes_back_is_asked_again(http_server: Any, observation: PolicyObservation) -> None:
    first = http_server(lambda n: http_actions())
    policy = client("openvla_oft_rest", f"http://127.0.0.1:{first.server_port}")
    policy.reset([observation["episode_id"]])
    policy.act([observation])
    first.shutdown()
    first.server_close()
    threading.Timer(0.7, lambda: http_server(lambda n: http_actions(), first.server_port)).start()
    assert policy.act([observation])[0].shape == (8, 7)
    policy.close()


XVLA_NONSENSE = {
    "one arm": {"action": [[0.1] * 10] * 30},
    "no numbers": {"action": [["x"] * 20] * 30},
    "not a number": {"action": [[float("nan")] * 20] * 30},
    "infinite": {"action": [[float("inf")] * 20] * 30},
    "nothing": {"action": []},
    "an error": {"error": "No valid images found."},
}


@pytest.mark.parametrize("what", XVLA_NONSENSE)
def test_nonsense_of_xvlas_server_is_one_clear_error(http_server: Any, observation: PolicyObservation, what: str) -> None:
    server = http_server(lambda n: json.dumps(XVLA_NONSENSE[what]).encode())
    policy = client("xvla", f"http://127.0.0.1:{server.server_port}", "suite.control=absolute")
    policy.reset([observation["episode_id"]])
    with pytest.raises(PolicyError, match="actions of 20 numbers were expected|No valid images"):
        policy.act([observation])
    policy.close()
