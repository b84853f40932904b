"""``policy.devices``: copies of the policy in processes of their own change nothing but the time, and one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlagym.envs.registry import make_suite
from vlagym.episode import EpisodeSpec
from vlagym.errors import ConfigError, PolicyError
from vlagym.eval.cli import main
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run.evaluation import Outcome, evaluate, execution_settings_in
from vlagym.eval.run.launcher import LocalLauncher
from vlagym.eval.run.recorded import check_same_settings
from vlagym.eval.run.remote_seats import RemoteSeats
from vlagym.eval.tables.folder import RunFolder
from vlagym.policies.devices import devices_of, settings_on, use_device
from vlagym.policies.made_up import made_up_observations
from vlagym.policies.registry import make_policy

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]

FOUR = ("episodes_per_task=2", "workers=2", "video=none")


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = {*multiprocessing.active_children()}  # such as the workers that tests of `vlagym.evaluate` keep in this process
    yield
    assert {*multiprocessing.active_children()} <= before


class _KillsASeat(Subscriber):
    """Kills a seat once, in the middle of an episode."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.killed = False

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        if not self.killed:
            seats = [process for process in multiprocessing.active_children() if process.name.startswith("seat")]
            assert len(seats) == 2
            assert seats[0].pid is not None
            os.kill(seats[0].pid, signal.SIGKILL)
            self.killed = True

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        self.reasons.append(reason)


def test_copies_answer_like_one(run_toy: Run, records: Records) -> None:
    one = run_toy(*FOUR, name="one").folder
    two = run_toy(*FOUR, "policy.devices=[cpu,cpu]", name="two").folder
    assert records(two) == records(one)
    of_one, of_two = (RunFolder(folder).header()["legs"][0] for folder in (one, two))
    assert of_two["policy_provenance"] == of_one["policy_provenance"]


def test_asked_itself_it_answers_by_its_first_seat() -> None:
    (leg,) = load_config(["suite=toy", "policy=random"]).legs
    suite = make_suite(leg.suite)
    here = make_policy(leg.policy, suite)
    with closing(RemoteSeats(leg.policy, suite, ["cpu", "cpu"], LocalLauncher())) as policy:
        observations = made_up_observations(here, suite, ["a", "b"], 0)
        for one in (policy, here):
            one.reset(["a", "b"])
        for ours, theirs in zip(policy.act(observations), here.act(observations), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert policy.done(["a", "b"]) == here.done(["a", "b"])
        policy.release(["a", "b"])


def test_a_seat_that_dies_is_replaced(run_toy: Run, records: Records, tmp_path: Path) -> None:
    undisturbed = run_toy(*FOUR, name="undisturbed").folder
    killer = _KillsASeat()
    settings = ["suite=toy", "policy=push", *FOUR, "suite.step_seconds=0.01", "policy.devices=[cpu,cpu]"]
    outcome = evaluate(load_config([*settings, f"run_dir={tmp_path / 'run'}"]), [killer])
    assert outcome.complete
    assert killer.reasons
    assert set(killer.reasons) == {"seat 0 of the policy on the CPU ended with signal SIGKILL"} or set(killer.reasons) == {
        "seat 1 of the policy on the CPU ended with signal SIGKILL"
    }
    assert records(outcome.folder) == records(undisturbed)


def test_what_a_copy_raises_ends_the_run(run_toy: Run, records: Records) -> None:
    with pytest.raises(PolicyError, match=r"(?s)seat 0 of the policy on the CPU: .*MemoryError: the policy ran out of memory"):
        run_toy("policy.how=out_of_memory", "policy.devices=[cpu]", *FOUR, policy="broken")


def test_a_copy_that_cannot_be_built_is_refused_before_there_is_a_folder(run_toy: Run, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"seat 0 of the policy on the CPU ended with exit code 0 while it was loaded"):
        run_toy("policy.how=exits_at_once", "policy.devices=[cpu,cpu]", *FOUR, policy="broken")
    assert not (tmp_path / "run").exists()


def test_a_run_may_go_on_on_other_devices(run_toy: Run, records: Records) -> None:
    whole = run_toy(*FOUR, name="whole").folder
    folder = run_toy(*FOUR, "policy.devices=[cpu,cpu]", name="cut").folder
    (folder / "episodes.jsonl").write_text("".join((folder / "episodes.jsonl").read_text().splitlines(True)[:1]))
    overrides = ["policy.devices=[cpu]", "workers=1"]
    assert execution_settings_in(overrides) == ("policy.devices", "workers")
    assert main([f"resume={folder}", *overrides]) == 0
    assert records(folder) == records(whole)
    recorded = RunFolder(folder).config()
    assert recorded.legs[0].policy["devices"] == ["cpu", "cpu"]
    check_same_settings(folder, recorded, recorded.with_execution_of(load_config(["policy.devices=[cpu]"]), ("policy.devices",)))
    here = recorded.with_execution_of(load_config(["policy=random"]), ("policy.devices",))
    assert here.legs[0].policy == {key: value for key, value in recorded.legs[0].policy.items() if key != "devices"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"devices": ["gpu0"]}, r"must be a list of numbers of GPUs, or cpu, such as \[0,1\]; got \['gpu0'\]"),
        ({"devices": []}, "must be a list of numbers of GPUs"),
        ({"devices": [True]}, "must be a list of numbers of GPUs"),
        ({"devices": {"a": 1}}, "must be a list of numbers of GPUs"),
        ({"devices": [-1]}, "must be a list of numbers of GPUs"),
        ({"name": "openpi", "url": "ws://x", "devices": [0, 1]}, "openpi asks a server: policy.connections=N"),
        ({"name": "openvla", "device": "cpu", "devices": [0]}, "cannot both be given"),
    ],
)
def test_devices_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        devices_of({"name": "random", **settings})


def test_a_copy_sees_its_own_gpu_alone() -> None:
    environment: dict[str, str] = {}
    use_device("3", environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": "3"}
    given = {"CUDA_VISIBLE_DEVICES": "4,5"}
    use_device("cpu", given)
    assert given == {"CUDA_VISIBLE_DEVICES": "4,5"}
    use_device("1", given)
    assert given == {"CUDA_VISIBLE_DEVICES": "5"}
    with pytest.raises(ConfigError, match="names GPU 1; CUDA_VISIBLE_DEVICES=5 leaves 1 to this process"):
        use_device("1", given)
    assert settings_on({"name": "rt1", "device": None, "devices": [1]}, "1") == {"name": "rt1", "device": "cuda"}
    assert settings_on({"name": "scripted", "devices": ["cpu"]}, "cpu") == {"name": "scripted"}
