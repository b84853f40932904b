"""LeRobot itself, in an environment of its own: a policy that it saved, evaluated through the launch, acts as in its pipeline."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from needs import need_suite
from outside import LEROBOT, outside

from vlagym.envs.registry import make_suite
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate
from vlagym.eval.tables.folder import RunFolder
from vlagym.policies.launch.environment import light_package
from vlagym.policies.registry import make_policy

pytestmark = pytest.mark.slow

# lerobot-eval's own order of steps on the recorded observations, with the noise that our server draws for an episode and step.
OWN_PIPELINE = """
import json, sys
import numpy as np, torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.processor.env_processor import LiberoProcessorStep
from vlagym.policies.lerobot.server import LeRobotPolicy
from vlagym.policies.serving.served import Request

folder, episodes = sys.argv[1], json.loads(sys.argv[2])
torch.set_num_threads(1)
recorded = np.load(f"{folder}/outputs.npz")
config = PreTrainedConfig.from_pretrained(f"{folder}/tiny_smolvla")
config.vlm_model_name, config.device = f"{folder}/tiny_vlm", "cpu"
policy = get_policy_class(config.type).from_pretrained(f"{folder}/tiny_smolvla", config=config).eval()
overrides = {"device_processor": {"device": "cpu"}, "tokenizer_processor": {"tokenizer_name": f"{folder}/tiny_vlm"}}
before, after = make_pre_post_processors(config, pretrained_path=f"{folder}/tiny_smolvla", preprocessor_overrides=overrides)

def seen(numbers):
    take = lambda name: np.stack([recorded[f"obs{n}.{name}"] for n in numbers])
    raw = {"pixels": {"image": take("agentview_image"), "image2": take("robot0_eye_in_hand_image")}}
    eef = {"pos": take("robot0_eef_pos"), "quat": take("robot0_eef_quat")}
    raw["robot_state"] = {"eef": eef, "gripper": {"qpos": take("robot0_gripper_qpos")}}
    tasks = [str(recorded[f"obs{n}.task"]) for n in numbers]
    return {**LiberoProcessorStep().observation(preprocess_observation(raw)), "task": tasks}

def chunks(numbers, noise):
    with torch.inference_mode():
        return after(policy.predict_action_chunk(before(seen(numbers)), noise=noise)).numpy()

ours = LeRobotPolicy(f"{folder}/tiny_smolvla", "cpu", 8, None, {}, {"vlm_model_name": f"{folder}/tiny_vlm"})
states = seen([0, 1, 2])["observation.state"].numpy()
def request(n, episode, step):
    image = lambda name: np.ascontiguousarray(recorded[f"obs{n}.{name}"][::-1, ::-1])
    sent = {"observation.images.image": image("agentview_image"), "observation.images.image2": image("robot0_eye_in_hand_image")}
    return Request(episode, step, {**sent, "observation.state": states[n], "task": str(recorded[f"obs{n}.task"])})

own = [chunks([n], ours._noise([request(n, episode, step)])) for n, (episode, step) in enumerate(episodes)]
together = [request(n, f"e{n}", 0) for n in range(3)]
batched = np.stack(ours.act(together))
theirs = chunks([0, 1, 2], ours._noise(together))
ours._noise = lambda requests: torch.from_numpy(recorded["noise"][[int(r.episode[1]) for r in requests]])
golden = np.stack(ours.act(together))
single = np.stack([ours.act([r])[0] for r in together])
equal = {"batched": bool((batched == theirs).all())}
print(json.dumps({**equal, "own": [chunk[0].tolist() for chunk in own], "states": states.tolist(),
    "golden": float(abs(golden - recorded["batched.chunk"]).max()), "single": float(abs(single - recorded["single.chunk"]).max())}))
"""


# Real-time chunking by our server and by LeRobot's own call: after 5 of 8 actions of the first chunk, with a delay of 2.
OWN_GUIDANCE = """
import json, sys
import numpy as np, torch
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from vlagym.policies.lerobot.server import LeRobotPolicy
from vlagym.policies.serving.served import Request

folder = sys.argv[1]
torch.set_num_threads(1)
recorded = np.load(f"{folder}/outputs.npz")
names = {"observation.images.image": "agentview_image", "observation.images.image2": "robot0_eye_in_hand_image"}
rtc = {"enabled": True, "execution_horizon": 6, "prefix_attention_schedule": "exp"}
overrides = {"vlm_model_name": f"{folder}/tiny_vlm", "rtc_config": rtc}

def request(n, step, **more):
    images = {key: np.ascontiguousarray(recorded[f"obs{n}.{name}"][::-1, ::-1]) for key, name in names.items()}
    state = np.linspace(-1, 1, 8) / (n + 1)
    return Request("e", step, {**images, "observation.state": state, "task": str(recorded[f"obs{n}.task"]), **more})

def served():
    policy = LeRobotPolicy(f"{folder}/tiny_smolvla", "cpu", 8, None, {}, overrides)
    policy.reset("e")
    return policy

ours = served()
(first,) = ours.act([request(0, 0, previous_actions=np.zeros((0, 7), np.float32), delay_steps=2)])
later = request(1, 5, previous_actions=first[5:], delay_steps=2)
(guided,) = ours.act([later])
(unguided,) = served().act([later])
theirs = served()
batches = [theirs._before(theirs._batch([r])) for r in (request(0, 0), later)]
raw = theirs._policy.predict_action_chunk(batches[0], noise=theirs._noise([request(0, 0)]))
left = {"prev_chunk_left_over": raw[:, 5:], "inference_delay": 2}
own = theirs._after(theirs._policy.predict_action_chunk(batches[1], noise=theirs._noise([later]), **left))
print(json.dumps({"equal": bool((own.detach().numpy()[0, :8] == guided).all()), "batch": ours.max_batch,
    "unlike": float(abs(guided - unguided).max()), "said": ours.metadata["real_time_chunking"]}))
"""


@pytest.fixture(scope="module")
def lerobot() -> Path:
    return outside(LEROBOT)


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Path:
    return golden / "remote" / "lerobot"


def settings(lerobot: Path, recorded: Path) -> list[str]:
    return [
        *("suite=libero_goal", "policy=lerobot", f"policy.checkpoint={recorded / 'tiny_smolvla'}", f"policy.environment={lerobot}"),
        *("policy.device=cpu", f"policy.overrides={{vlm_model_name: {recorded / 'tiny_vlm'}}}"),
    ]


def test_actions_are_those_of_lerobots_own_pipeline(lerobot: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    episodes = [(f"libero_goal/task_{n}/{n}/0", 4 * n) for n in range(3)]
    with light_package() as light:
        words = [str(lerobot / "bin" / "python"), "-c", OWN_PIPELINE, str(recorded), json.dumps(episodes)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(light), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs["batched"]
    assert theirs["golden"] < 1e-6  # recorded with another build of torch
    assert theirs["single"] < 1e-6

    leg = load_config(settings(lerobot, recorded)).legs[0]
    policy = make_policy(leg.policy, make_suite(leg.suite))
    try:
        numbers = np.load(recorded / "outputs.npz")
        for n, ((episode, step), own) in enumerate(zip(episodes, theirs["own"], strict=True)):
            images = {
                "primary": numbers[f"obs{n}.agentview_image"][::-1],
                "wrist": numbers[f"obs{n}.robot0_eye_in_hand_image"][::-1],
            }
            seen: Any = {"images": images, "state": np.asarray(theirs["states"][n]), "instruction": str(numbers[f"obs{n}.task"])}
            policy.reset([episode])
            if step:  # the server counts the actions that it gave
                for earlier in range(0, step, 4):
                    policy.act([{**seen, "episode_id": episode, "step": earlier}])
            (chunk,) = policy.act([{**seen, "episode_id": episode, "step": step}])
            np.testing.assert_array_equal(chunk, np.asarray(own, np.float32)[:4])  # n_action_steps
    finally:
        policy.close()


def test_a_new_chunk_goes_on_where_the_last_one_is_being_executed(lerobot: Path, recorded: Path) -> None:
    with light_package() as light:
        words = [str(lerobot / "bin" / "python"), "-c", OWN_GUIDANCE, str(recorded)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(light), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["equal"], "bit for bit what LeRobot's own call gives"
    assert found["unlike"] > 1e-3, "and something else than without guidance"
    assert found["batch"] == 1
    assert "enabled=True" in found["said"]


def test_episodes_do_not_depend_on_what_runs_beside_them(lerobot: Path, recorded: Path, tmp_path: Path) -> None:
    need_suite("libero_goal")
    ends = []
    for workers in (1, 2):
        short = ["tasks=[0,1]", "episodes_per_task=1", "suite.horizon=8", "video=none", f"workers={workers}"]
        folder = tmp_path / f"{workers}"
        assert evaluate(load_config([*settings(lerobot, recorded), *short, f"run_dir={folder}"])).complete
        results = sorted(RunFolder(folder).results(), key=lambda result: result.spec)
        assert [result.error for result in results] == [None, None]
        ends.append([result.final_state_sha256 for result in results])
        said = RunFolder(folder).header()["legs"][0]["policy_provenance"]["server"]["metadata"]
        assert said["policy"] == "lerobot/smolvla"
        assert said["packages"]["lerobot"] == "0.4.4"
        assert "listening on port" in (folder / "server.log").read_text()
    assert ends[0] == ends[1]
