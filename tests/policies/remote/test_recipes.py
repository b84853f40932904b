"""Recipes of remote policies against recorded traffic: from an answer to the actions that the official client executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.conf import group_names, suite_names
from vlagym.envs.registry import make_suite
from vlagym.envs.robosuite.engine import Proprioception
from vlagym.eval.plan.config import load_config
from vlagym.policies.base import PolicyObservation
from vlagym.policies.pipeline import Recipe
from vlagym.policies.remote import groot, json_numpy, openpi, openvla_rest, starvla, vla_eval, xvla
from vlagym.policies.remote.base import Question
from vlagym.policies.remote.policy import make_pipeline
from vlagym.policies.remote.vla_eval_params import obey
from vlagym.policies.transforms.rotations import axis_angle_to_matrix, matrix_to_axis_angle

Traffic = Callable[[str], bytes]
Observed = Mapping[str, Any]


class Official:
    """A recipe, and what of it the official client's loop does."""

    def __init__(self, policy: str, suite: str, *overrides: str, server: Mapping[str, Any] | None = None) -> None:
        leg = load_config([f"suite={suite}", f"policy={policy}", "policy.url=ws://127.0.0.1:1", *overrides]).legs[0]
        self.suite, self.settings = make_suite(leg.suite), leg.policy
        recipe: Recipe = {  # type: ignore[assignment]
            name: leg.policy[name] for name in ("image_transforms", "state_transforms", "action_transforms", "emits")
        }
        request = leg.policy["request"]
        if server is not None:
            request, recipe = obey(self.suite, server, request, recipe)
        self.pipeline, self.form = make_pipeline(self.suite, policy, request, recipe)
        assert not self.pipeline.action_spec.differences(self.suite.action_spec)
        self.pipeline.reset(["suite/task/0/0"])

    def question(self, observation: PolicyObservation) -> Question:
        (question,) = self.form.questions(self.pipeline, [observation])
        return question

    def executed(self, observation: PolicyObservation, chunk: Any) -> Any:
        return self.pipeline.actions(observation, chunk[: self.settings["executes"]])


def seen(images: dict[str, Any], state: Any, task: Any, step: int = 0) -> PolicyObservation:
    return {"images": images, "state": state, "instruction": str(task), "episode_id": "suite/task/0/0", "step": step}


@pytest.fixture
def libero(observed: Observed) -> PolicyObservation:
    pose = [observed[f"libero.robot0_{name}"] for name in ("eef_pos", "eef_quat", "gripper_qpos")]
    images = {"primary": observed["libero.agentview_image"][::-1], "wrist": observed["libero.robot0_eye_in_hand_image"][::-1]}
    return seen(images, Proprioception(*pose, np.zeros(7)).vector(), observed["libero.task"])


def simpler(observed: Observed, robot: str, step: int = 0) -> PolicyObservation:
    state = observed[f"{robot}.eef_pos"].copy()
    state[7] = 1 - state[7]  # ours says how far the gripper is closed
    return seen({"primary": observed[f"{robot}.image"]}, state, observed[f"{robot}.task"], step)


def calvin(observed: Observed) -> PolicyObservation:
    images = {"primary": observed["calvin.rgb_static"], "wrist": observed["calvin.rgb_gripper"]}
    return seen(images, observed["calvin.robot_obs"], observed["calvin.task"])


NEEDS = {
    "xvla-libero": "suite.control=absolute",
    "xvla-calvin": "suite.action_form=absolute_quat",
    "vla_eval_server-calvin": "suite.action_form=absolute_euler",
}
REMOTE = ("openpi", "groot", "starvla", "vla_eval_server", "openvla_rest", "openvla_oft_rest", "xvla", "lerobot")
RECIPES = [recipe for recipe in group_names("recipe") if recipe.startswith(tuple(f"{name}-" for name in REMOTE))]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_all_that_its_pair_needs(recipe: str) -> None:
    policy, suite = recipe.split("-")
    assert suite in suite_names()
    official = Official(policy, suite, *(setting for start, setting in NEEDS.items() if recipe.startswith(start)))
    assert set(official.pipeline.cameras) <= set(official.suite.cameras)
    official.pipeline.close()


def test_openpi(traffic: Traffic, libero: PolicyObservation) -> None:
    official, wire = Official("openpi", "libero_spatial"), openpi.OpenpiWire()
    assert openpi.encode(wire.request(official.question(libero))) == traffic("openpi/request_libero.client.msgpack.gz")
    chunk = wire.chunk(traffic("openpi/reply_libero.server.msgpack"))
    np.testing.assert_array_equal(official.executed(libero, chunk), chunk[:5])


class Recorded:
    """A connection on which the answers that were recorded come, and which keeps what is sent."""

    def __init__(self, *answers: bytes | str) -> None:
        self.answers, self.sent = list(answers), list[bytes]()

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def receive(self) -> bytes | str:
        return self.answers.pop(0)

    def exchange(self, message: bytes) -> bytes | str:
        self.send(message)
        return self.receive()

    def close(self) -> None:
        raise AssertionError("it is not for a wire to close")


def test_roboarena(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    """DROID's robot is no suite here; of the dialect, everything else is: handshake, reset, request and what is executed."""
    answers = traffic("roboarena/config.server.msgpack"), traffic("roboarena/reset.server.txt").decode()
    channel, wire = Recorded(*answers, traffic("roboarena/infer.server.msgpack")), openpi.OpenpiWire()
    facts = wire.open(channel)
    assert facts["dialect"] == "roboarena"
    assert facts["metadata"]["action_space"] == "joint_position"
    recorded = openpi.decode(traffic("roboarena/infer.client.msgpack.gz"))
    monkeypatch.setattr(openpi.uuid, "uuid4", lambda: recorded["session_id"])
    question = Question(
        images={key: value for key, value in recorded.items() if key.endswith("_left")},
        state={key: recorded[key] for key in ("observation/joint_position", "observation/gripper_position")},
        instruction=recorded["prompt"],
        instruction_key="prompt",
        fixed={},
        episode_id="droid/cup/0/0",
        step=0,
    )
    wire.begin(channel, question)
    (chunk,) = wire.ask(channel, [question])
    assert channel.sent == [traffic("roboarena/reset.client.msgpack"), traffic("roboarena/infer.client.msgpack.gz")]
    # Its client executes all actions of a chunk, as they come.
    np.testing.assert_array_equal(chunk, np.random.default_rng(11).uniform(-1, 1, (4, 8)).astype(np.float32))


def test_the_conversation_with_groot_is_the_recorded_one(traffic: Traffic) -> None:
    for version in ("n1.6", "n1.7"):
        channel = Recorded(traffic(f"gr00t/{version}/modality_config.server.msgpack"))
        facts = groot.GrootWire([], "secret-token").open(channel)
        assert channel.sent == [traffic(f"gr00t/{version}/modality_config.client.msgpack")]
        assert facts["codec"] == {"n1.6": "npy", "n1.7": "msgpack-numpy"}[version]
        assert set(facts["modalities"]) == {"video", "state", "action", "language"}


def test_vla_evals_messages_are_the_recorded_ones(traffic: Traffic) -> None:
    """But for time, versions and what is said of the task, which are the client's own."""
    wire = vla_eval.VlaEvalWire("vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark")
    channel = Recorded(traffic("vla_eval/hello.server.msgpack"), traffic("vla_eval/action.server.msgpack"))
    wire.open(channel)
    wire.begin(channel, Question({}, {}, "open it", "task_description", {}, "libero_goal/task/3/0", 0))
    wire.end(channel, "libero_goal/task/3/0")
    for sent, name in zip(channel.sent, ("hello", "episode_start", "episode_end"), strict=True):
        ours, theirs = vla_eval.decode(sent), vla_eval.decode(traffic(f"vla_eval/{name}.client.msgpack"))
        assert list(ours) == list(theirs)
        assert ours["type"] == theirs["type"]
        assert set(ours["payload"]) <= set(theirs["payload"])
        assert type(ours["seq"]) is type(theirs["seq"])


@pytest.mark.parametrize("version", ["n1.6", "n1.7"])
@pytest.mark.parametrize("robot", ["libero", "google", "widowx"])
def test_groot(golden: Path, traffic: Traffic, observed: Observed, libero: PolicyObservation, version: str, robot: str) -> None:
    suite = {"libero": "libero_spatial", "google": "simpler_google_vm", "widowx": "simpler_widowx"}[robot]
    official = Official("groot", suite)
    observation = libero if robot == "libero" else simpler(observed, robot)
    codec: groot.Codec = "npy" if version == "n1.6" else "msgpack-numpy"
    for flat, name in ((True, "sim"), (False, "nested")):
        message = {"endpoint": "get_action", "data": groot.request([official.question(observation)], flat)}
        if robot == "libero" and flat:  # as the recorded client was told to
            message["api_token"] = "secret-token"
        assert groot.encode(message, codec) == traffic(f"gr00t/{version}/{robot}_{name}_request.client.msgpack.gz")
        reply = groot.decode(traffic(f"gr00t/{version}/{robot}_{name}_reply.server.msgpack"))
        (chunk,) = groot.GrootWire(official.settings["action_keys"]).chunks(reply, 1)
        official.pipeline.reset([observation["episode_id"]])
        recorded = np.load(golden / f"remote/gr00t/{version}/{robot}_executed.npz")
        executed = official.executed(observation, chunk)
        assert len(executed) == recorded["n_action_steps"]
        np.testing.assert_allclose(executed[-1], recorded["last_action"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("robot", ["libero", "google_robot", "widowx_bridge"])
def test_starvla(golden: Path, traffic: Traffic, observed: Observed, libero: PolicyObservation, robot: str) -> None:
    suite = {"libero": "libero_spatial", "google_robot": "simpler_google_vm", "widowx_bridge": "simpler_widowx"}[robot]
    official = Official("starvla", suite)
    observation = libero if robot == "libero" else simpler(observed, robot.split("_", maxsplit=1)[0])
    question = official.question(observation)
    assert openpi.encode(starvla.request([question])) == traffic(f"starvla/{robot}_request.client.msgpack.gz")
    (chunk,) = starvla.chunks(traffic(f"starvla/{robot}_reply.server.msgpack"), 1)
    recorded = np.load(golden / "remote/starvla/executed.npz")[f"{robot}_executed"]
    if robot == "libero":
        executed = official.executed(observation, chunk)[:2]
    else:
        executed = np.concatenate([official.executed(observation, chunk) for _ in range(3)])
    np.testing.assert_allclose(executed, recorded, rtol=0, atol=1e-6)


def test_vla_eval(traffic: Traffic, libero: PolicyObservation) -> None:
    hello = vla_eval.decode(traffic("vla_eval/hello.server.msgpack"))["payload"]
    recorded = vla_eval.decode(traffic("vla_eval/observation_png.client.msgpack"))["payload"]
    asks = {**hello["observation_params"], "quat_no_antipodal": False}  # as the recorded client did, whatever the server said
    official = Official("vla_eval_server", "libero_spatial", server={**hello, "observation_params": asks})
    sent = vla_eval.VlaEvalWire(None).observation(official.question(libero))
    assert list(sent) == list(recorded)
    assert sent["task_description"] == recorded["task_description"]
    for name, image in recorded["images"].items():
        np.testing.assert_array_equal(sent["images"][name].image, image)
    assert sent["states"].dtype == recorded["states"].dtype
    np.testing.assert_allclose(sent["states"][[0, 1, 2, 6, 7]], recorded["states"][[0, 1, 2, 6, 7]], rtol=0, atol=0)


def test_openvla_rest(traffic: Traffic, libero: PolicyObservation) -> None:
    oft = Official("openvla_oft_rest", "libero_spatial")
    assert json_numpy.dumps(oft.question(libero).flat()).encode() == traffic("rest/oft.request.json.gz")
    assert oft.executed(libero, openvla_rest.chunk(traffic("rest/oft.reply.json"))).shape == (8, 7)
    # The recorded client sent the image as it was; the recipe sends what the model was trained on.
    plain = Official("openvla_rest", "libero_spatial", "policy.image_transforms=[mirror_horizontally]")
    assert json_numpy.dumps(plain.question(libero).flat()).encode() == traffic("rest/openvla.request.json.gz")


@pytest.mark.parametrize("benchmark", ["libero", "calvin"])
def test_xvla(golden: Path, traffic: Traffic, observed: Observed, libero: PolicyObservation, benchmark: str) -> None:
    setting = {"libero": "suite.control=absolute", "calvin": "suite.action_form=absolute_quat"}[benchmark]
    official = Official("xvla", {"libero": "libero_spatial", "calvin": "calvin_abc_d"}[benchmark], setting)
    observation = libero if benchmark == "libero" else calvin(observed)
    if benchmark == "libero":  # the recorded client was told that the controller's frame is the hand's
        hand = axis_angle_to_matrix(observation["state"][3:6]) @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        turned = np.concatenate([observation["state"][:3], matrix_to_axis_angle(hand), observation["state"][6:]])
        observation = {**observation, "state": turned}
    sent = xvla.request(official.question(observation))
    recorded = json_numpy.loads(traffic(f"xvla/{benchmark}.request.json.gz"))
    assert set(sent) == set(recorded)
    for key, value in recorded.items():
        if key == "proprio":
            expected = np.asarray(json_numpy.loads(value), np.float64)
            np.testing.assert_allclose(
                json_numpy.loads(sent[key]), expected, rtol=0, atol=2e-5
            )  # the recorded quaternion is that far from length 1
        elif key.startswith("image"):
            np.testing.assert_array_equal(json_numpy.loads(sent[key]), json_numpy.loads(value))
        else:
            assert sent[key] == value
    executed = np.load(golden / "remote/xvla/executed.npz")
    chunk = xvla.chunk(traffic(f"xvla/{benchmark}.reply.json"))
    actions = official.executed(observation, chunk)
    expected = executed[f"{benchmark}.actions"]
    assert actions.shape == expected.shape
    np.testing.assert_allclose(actions[:, :3], expected[:, :3], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(actions[:, -1], expected[:, -1])
    turn = actions[:, 3:-1]
    sign = np.sign(np.sum(turn * expected[:, 3:-1], axis=1, keepdims=True)) if benchmark == "calvin" else 1.0
    if benchmark == "libero":  # near half a turn a rotation vector is ill-conditioned, its matrix is not
        turns, theirs = (np.array([axis_angle_to_matrix(v) for v in vectors]) for vectors in (turn, expected[:, 3:-1]))
        np.testing.assert_allclose(turns, theirs, rtol=0, atol=2e-5)  # the recorded client computes in float32
    else:
        np.testing.assert_allclose(turn * sign, expected[:, 3:-1], rtol=0, atol=2e-6)
    after = official.question({**observation, "step": len(actions)})
    np.testing.assert_allclose(after.state["proprio"], executed[f"{benchmark}.proprio_after"], rtol=0, atol=1e-7)
