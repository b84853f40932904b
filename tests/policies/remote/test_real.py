"""Real counterparts, each in an environment of its own: openpi's and vla-eval's published packages, clients and servers alike."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import WIRES, outside

from vlagym.envs.registry import make_suite
from vlagym.errors import PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import Policy, PolicyObservation
from vlagym.policies.registry import make_policy
from vlagym.policies.serving.served import Array, Request, Served
from vlagym.policies.serving.server import ServerSettings, serving

pytestmark = pytest.mark.slow

# What both sides compute from an observation, so that a byte that went wrong on the way shows in the actions.
ANSWER = """
import numpy as np
def answer(primary, wrist, state, text):
    if text == "fail":
        raise KeyError("images")
    sums = [np.asarray(image, np.float64).sum() % 977 for image in (primary, wrist, primary[:, :9], wrist[5:])]
    row = np.concatenate([np.asarray(state, np.float64)[:6] + np.array(sums + [len(text), 0.5]) / 1000, [-1.0]])
    return np.stack([row + 0.001 * step for step in range(10)])
"""
DRAW = """
draw = np.random.default_rng(3)
images = [draw.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(2)]
state = draw.standard_normal(8)
"""
_here: dict[str, Any] = {}
exec(ANSWER + DRAW, _here)
answer, IMAGES, STATE = _here["answer"], _here["images"], _here["state"]


@pytest.fixture(scope="module")
def wires() -> Path:
    return outside(WIRES)


def run(environment: Path, code: str, *arguments: object) -> Any:
    """What a script in another environment prints as JSON on its last line."""
    script = f"import json, sys\n{ANSWER}\n{DRAW}\n{code}"
    words = [str(environment / "bin" / "python"), "-I", "-c", script, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class Answering(Served):
    """Our server's end of the comparison."""

    name = "answering"

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self.metadata = {"colour": "blue", "observation_params": {"send_state": True, "send_wrist_image": True}}
        self.episodes: list[str] = []

    def act(self, requests: Sequence[Request]) -> list[Array]:
        self.episodes += [request.episode for request in requests]
        return [answer(*(_entry(request.observation, key) for key in self._keys)) for request in requests]


def _entry(sent: Any, key: str) -> Any:
    for part in key.split("."):
        sent = sent[part]
    return sent


OPENPI_KEYS = ("observation/image", "observation/wrist_image", "observation/state", "prompt")
VLA_EVAL_KEYS = ("images.agentview", "images.wrist", "states", "task_description")

OPENPI_CLIENT = """
from openpi_client.websocket_client_policy import WebsocketClientPolicy
client = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]), api_key="secret")
sent = {"observation/image": images[0], "observation/wrist_image": images[1], "observation/state": state, "prompt": "open it"}
replies = [client.infer(sent) for _ in range(2)]
try:
    client.infer({**sent, "prompt": "fail"})
except Exception as error:
    failure = str(error)
print(json.dumps({"metadata": client.get_server_metadata(), "actions": [r["actions"].tolist() for r in replies],
    "dtype": str(replies[0]["actions"].dtype), "timing": [sorted(r["server_timing"]) for r in replies], "failure": failure}))
"""


def test_the_real_openpi_client_against_our_server(wires: Path) -> None:
    with serving(Answering(OPENPI_KEYS), ServerSettings(port=0, api_key="secret")) as port:
        got = run(wires, OPENPI_CLIENT, port)
    expected = answer(*IMAGES, STATE, "open it")
    assert got["metadata"] == Answering(()).metadata
    assert got["dtype"] == "float64"
    for actions in got["actions"]:
        np.testing.assert_array_equal(actions, expected)
    assert got["timing"] == [["infer_ms"], ["infer_ms", "prev_total_ms"]]
    assert "Error in inference server" in got["failure"]
    assert "KeyError: 'images'" in got["failure"]


POLICY_WEBSOCKET_CLIENT = """
import os
from policy_websocket import WebsocketClientPolicy
client = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]))
sent = {"observation/image": images[0], "observation/wrist_image": images[1], "observation/state": state, "prompt": "open it"}
print(json.dumps({"metadata": client.get_server_metadata(), "actions": client.infer(sent)["actions"].tolist()}), flush=True)
os._exit(0)  # its connection has a thread that does not end
"""


def test_policy_websockets_client_against_our_server(wires: Path) -> None:
    with serving(Answering(OPENPI_KEYS), ServerSettings(port=0)) as port:
        got = run(wires, POLICY_WEBSOCKET_CLIENT, port)
    np.testing.assert_array_equal(got["actions"], answer(*IMAGES, STATE, "open it"))
    assert got["metadata"]["colour"] == "blue"


VLA_EVAL_CLIENT = """
import asyncio
from vla_eval.connection import Connection
async def main():
    connection = Connection(f"ws://127.0.0.1:{sys.argv[1]}")
    await connection.connect(benchmark="vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark")
    sent = {"images": {"agentview": images[0], "wrist": images[1]}, "states": state, "task_description": "open it"}
    actions, episode = [], {"task": {"name": "x", "suite": "libero_goal", "task_id": 0, "episode_idx": 3}}
    await connection.start_episode(episode)
    for _ in range(12):
        actions.append((await connection.act(sent))["actions"].tolist())
    actions.append((await connection.act({**sent, "episode_restart": True}))["actions"].tolist())
    await connection.end_episode({"metrics": {"success": True}, "steps": 12, "elapsed_sec": 1.0})
    await connection.start_episode(episode)
    try:
        await connection.act({**sent, "task_description": "fail"})
    except Exception as error:
        failure = str(error)
    actions.append((await connection.act(sent))["actions"].tolist())
    await connection.close()
    print(json.dumps({"info": connection.server_info, "actions": actions, "failure": failure}))
asyncio.run(main())
"""


def test_the_real_vla_eval_client_against_our_server(wires: Path) -> None:
    served = Answering(VLA_EVAL_KEYS)
    with serving(served, ServerSettings(port=0, protocol="vla_eval")) as port:
        got = run(wires, VLA_EVAL_CLIENT, port)
    chunk = answer(*IMAGES, STATE, "open it")
    # Twelve actions are a chunk of ten and two of the next; then a subtask begins, then another episode.
    np.testing.assert_array_equal(got["actions"], [*chunk, *chunk[:2], chunk[0], chunk[0]])
    assert got["info"]["observation_params"] == served.metadata["observation_params"]
    assert "observation_failed: KeyError" in got["failure"]
    assert set(served.episodes) == {"libero_goal/3/0"}


OPENPI_SERVER = """
class Policy:
    def infer(self, sent):
        images = sent["observation/image"], sent["observation/wrist_image"]
        return {"actions": answer(*images, sent["observation/state"], sent["prompt"])}
    def reset(self):
        pass
"""
SERVERS = {
    "openpi-server": f"""{OPENPI_SERVER}
from openpi_server import WebsocketPolicyServer
WebsocketPolicyServer(Policy(), "127.0.0.1", int(sys.argv[1]), {{"reset_pose": [0.5]}}).serve_forever()
""",
    "policy-websocket": f"""{OPENPI_SERVER}
from policy_websocket import WebsocketPolicyServer
WebsocketPolicyServer(Policy(), "127.0.0.1", int(sys.argv[1]), {{"reset_pose": [0.5]}}).serve_forever()
""",
    "vla-eval": """
import threading
from vla_eval.api import serve_background
from vla_eval.model_servers.predict import PredictModelServer
class Model(PredictModelServer):
    def __init__(self):
        super().__init__(chunk_size=4)
    def predict(self, sent, context):
        return {"actions": answer(sent["images"]["agentview"], sent["images"]["wrist"], sent["states"], sent["task_description"])}
    def get_observation_params(self):
        return {"send_state": True, "send_wrist_image": True, "quat_no_antipodal": True}
with serve_background(Model(), port=int(sys.argv[1])):
    threading.Event().wait()
""",
}


@pytest.fixture
def launched(wires: Path, tmp_path: Path) -> Iterator[Callable[..., Policy]]:
    """A client of ours with one of the servers, started by the launch."""
    opened: list[Policy] = []

    def start(server: str, policy: str, *overrides: str) -> Policy:
        script = tmp_path / "server.py"
        script.write_text(f"import json, sys\n{ANSWER}\n{SERVERS[server]}")
        settings = [f"policy.launch=python {script} {{port}}", f"policy.environment={wires}", *overrides]
        leg = load_config(["suite=libero_goal", f"policy={policy}", *settings]).legs[0]
        opened.append(make_policy(leg.policy, make_suite(leg.suite)))
        return opened[-1]

    yield start
    for policy in opened:
        with closing(policy):
            pass


def observation(step: int = 0, instruction: str = "open it") -> PolicyObservation:
    episode = "libero_goal/turn_on_the_stove/2/0"
    images = {"primary": IMAGES[0][:, ::-1], "wrist": IMAGES[1][:, ::-1]}  # upright; the recipes mirror them
    return {"images": images, "state": STATE, "instruction": instruction, "episode_id": episode, "step": step}


@pytest.mark.parametrize("server", ["openpi-server", "policy-websocket"])
def test_our_client_against_the_real_openpi_servers(launched: Callable[..., Policy], server: str) -> None:
    policy = launched(server, "openpi")
    assert policy.provenance()["server"] == {"dialect": "openpi", "metadata": {"reset_pose": [0.5]}}
    policy.reset([observation()["episode_id"]])
    for step in (0, 5):
        np.testing.assert_array_equal(policy.act([observation(step)])[0], answer(*IMAGES, STATE, "open it")[:5])
    with pytest.raises(PolicyError, match="KeyError: 'images'"):
        policy.act([observation(10, "fail")])
    policy.reset([observation()["episode_id"]])
    assert policy.act([observation()])[0].shape == (5, 7)


def test_our_client_against_the_real_vla_eval_server(launched: Callable[..., Policy]) -> None:
    policy = launched("vla-eval", "vla_eval_server")
    facts = policy.provenance()["server"]
    assert facts["observation_params"] == {"send_state": True, "send_wrist_image": True, "quat_no_antipodal": True}
    policy.reset([observation()["episode_id"]])
    turned = STATE.copy()
    turned[3:6] = turned[3:6].astype(np.float32)  # the benchmark computes it in float32
    chunk = answer(*IMAGES, turned, "open it").astype(np.float32)  # as the server gives it
    chunk[:, 6] = -1.0
    actions = [policy.act([observation(step)])[0] for step in range(6)]
    np.testing.assert_array_equal(np.concatenate(actions), [*chunk[:4], *chunk[:2]])
    with pytest.raises(PolicyError, match="observation_failed: KeyError"):
        policy.reset([observation()["episode_id"]])
        policy.act([observation(0, "fail")])
    policy.reset([observation()["episode_id"]])
    np.testing.assert_array_equal(policy.act([observation()])[0], chunk[:1])


CALVIN_DELTAS = """
from vla_eval.benchmarks.calvin.benchmark import CALVINBenchmark
benchmark = CALVINBenchmark.__new__(CALVINBenchmark)
start, deltas = (np.array(part) for part in json.loads(sys.argv[1]))
benchmark._last_act = np.concatenate([start[:6], start[14:15]])
print(json.dumps([benchmark._process_delta_action({"actions": delta}).tolist() for delta in deltas]))
"""


def test_calvins_deltas_are_executed_as_vla_eval_executes_them(wires: Path) -> None:
    setting = ["suite=calvin_d", "suite.action_form=absolute_euler", "policy=vla_eval_server", "policy.url=ws://127.0.0.1:1"]
    leg = load_config(setting).legs[0]
    from vlagym.policies.remote.policy import make_pipeline

    names = ("image_transforms", "state_transforms", "action_transforms", "emits")
    recipe: Any = {name: leg.policy[name] for name in names}
    pipeline, _ = make_pipeline(make_suite(leg.suite), "vla_eval_server", leg.policy["request"], recipe)
    draw = np.random.default_rng(5)
    start, deltas = draw.uniform(-3, 3, 15), draw.uniform(-1, 1, (40, 7))
    seen: Any = {"images": {}, "state": start, "instruction": "x", "episode_id": "calvin_d/chain/0/0", "step": 0}
    pipeline.reset([seen["episode_id"]])
    ours = np.concatenate([pipeline.actions(seen, delta[None]) for delta in deltas])
    np.testing.assert_array_equal(ours, run(wires, CALVIN_DELTAS, json.dumps([start.tolist(), deltas.tolist()])))
    pipeline.close()
