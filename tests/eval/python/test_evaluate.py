"""vlagym from Python: what it gives is what the command gives, and the program around it is left as it was."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_suite import PushPolicy, ToySuite

import vlagym
from vlagym.envs.suite import Suite
from vlagym.errors import ConfigError, RunError
from vlagym.eval.run.evaluation import Outcome, resume
from vlagym.policies.base import Policy, PolicyObservation

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]

REPO = Path(__file__).parents[3]
FEW = {"episodes_per_task": 2, "workers": 1, "video": "none"}


@pytest.fixture(autouse=True)
def _no_workers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    vlagym.close_workers()
    assert not multiprocessing.active_children()


def push(observation: Mapping[str, Any]) -> Any:
    """An action of the toy suite, with a draw from every global generator."""
    assert observation["state"].shape == (1,)
    random.random()
    np.random.rand()
    torch.rand(1)
    return np.array([1.0, 0.0], np.float32)


def global_state() -> dict[str, Any]:
    numpy_state = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy": tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in numpy_state),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
    }


def test_evaluations_in_a_loop_share_workers_and_leave_no_trace(run_toy: Run, records: Records) -> None:
    slow = ["suite.step_seconds=0.1"]  # so that both workers have come to life before the first has done everything
    command = run_toy("episodes_per_task=2", "workers=2", "video=none", "policy.chunk=1", *slow).folder
    before = global_state()
    runs, workers = [], []
    for size in (2, 2, 1):
        runs.append(vlagym.evaluate(push, "toy", overrides=slow, **{**FEW, "workers": size}))
        workers.append({process.pid for process in multiprocessing.active_children()})
    assert global_state() == before
    assert len(workers[0]) == 2
    assert workers[1] == workers[0], "the second evaluation starts no process"
    assert workers[2] < workers[0]
    assert len({run.path for run in runs}) == 3
    for run in runs:
        assert records(run.path) == records(command)
        assert run.table().to_dict("records")[-1]["successes"] == 4
        assert all((run.path / result.execution["trajectory"]).is_file() for result in run.results)


def test_a_worker_that_has_died_meanwhile_is_replaced(records: Records) -> None:
    first = vlagym.evaluate(push, "toy", **FEW)
    victim = multiprocessing.active_children()[0]
    victim.kill()
    victim.join()
    second = vlagym.evaluate(push, "toy", **FEW)
    assert records(second.path) == records(first.path)
    assert {result.execution["attempts"] for result in second.results} == {1}


def test_other_settings_of_the_suite_get_other_workers() -> None:
    vlagym.evaluate(push, "toy", **FEW)
    before = {process.pid for process in multiprocessing.active_children()}
    run = vlagym.evaluate(push, "toy", overrides=["suite.goal=0.5"], **FEW)
    assert before.isdisjoint({process.pid for process in multiprocessing.active_children()})
    assert max(result.steps for result in run.results) < 12


class Watching(PushPolicy):
    """Notes where it is asked, and whether it is closed."""

    max_batch = 1

    def __init__(self, suite: Suite) -> None:
        super().__init__(suite)
        self.threads: set[int] = set()
        self.gradients: set[bool] = set()
        self.closed = False

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        self.threads.add(threading.get_ident())
        self.gradients.add(torch.is_grad_enabled())
        return super().act(observations)

    def close(self) -> None:
        self.closed = True


def test_a_policy_is_asked_where_the_caller_is_and_stays_open(run_toy: Run, records: Records) -> None:
    policy = Watching(ToySuite())
    with torch.no_grad():
        run = vlagym.evaluate(policy, "toy", **FEW)
    assert run.complete
    assert policy.threads == {threading.get_ident()}
    assert policy.gradients == {False}
    assert set(policy.batches) == {1}
    assert not policy.closed
    assert records(run.path) == records(run_toy("episodes_per_task=2", "video=none").folder)


def test_a_policy_may_be_named_or_made_for_the_suite(records: Records) -> None:
    made: list[Policy] = []

    def make(suite: Suite) -> Policy:
        made.append(Watching(suite))
        return made[-1]

    named = vlagym.evaluate("push", "toy", overrides=["policy.chunk=2"], **FEW)
    assert named.config.legs[0].policy == {"name": "push", "chunk": 2}
    assert records(vlagym.evaluate(make, ["toy"], **FEW).path) == records(named.path)
    assert records(vlagym.evaluate(PushPolicy, "toy", **FEW).path) == records(named.path)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        ((3, "toy"), {}, "evaluate was given int; a policy's name"),
        ((ToySuite, "toy"), {}, "the class ToySuite, which is no vlagym.policies.Policy"),
        ((push, "toy"), {"episode_per_task": 2}, "evaluate takes no 'episode_per_task'; the settings of a run are"),
        ((push, "toy"), {"workers": -1}, "workers must be"),
        ((push, "toy"), {"overrides": ["policy.chunk=2"]}, "is for a policy that is named"),
        ((push, "tyo"), {}, "Did you mean 'toy'"),
        ((PushPolicy(ToySuite()), "robosuite"), {}, "emits actions that suite 'robosuite' would misread"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    arguments: tuple[Any, ...], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        vlagym.evaluate(*arguments, **settings)
    assert not (tmp_path / "results").exists()


def test_an_object_cannot_be_resumed_from_a_folder() -> None:
    run = vlagym.evaluate(push, "toy", tasks=["push_far"], **FEW)
    with pytest.raises(RunError, match="was run from Python with push, an object that no setting names"):
        resume(run.path)


def test_runs_and_comparisons_are_short_where_they_are_shown() -> None:
    run = vlagym.evaluate(push, "toy", run_dir=Path("a"), **FEW)
    assert repr(run) == "<Run a: toy 100.0 % (4/4, 51.0 - 100.0 %)>"
    assert run._repr_markdown_().startswith("| suite | task | success |")
    assert run.success_rate == 1.0
    assert repr(vlagym.load_run("a")) == repr(run)
    comparison = vlagym.compare("a", "a", margin=90)
    assert comparison.verdict == "no regression"
    assert repr(comparison).startswith("<Comparison of a with a: no regression; +0.0 points (")
    assert list(comparison.table()["task"]) == ["push_right", "push_far", "average"]


def test_a_script_without_the_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import vlagym\nprint(vlagym.evaluate('push', 'toy', workers=2, video='none', episodes_per_task=1))\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=env, timeout=240)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert 'put the call below `if __name__ == "__main__":`.' in done.stderr.splitlines()[-1]
    script.write_text(script.read_text().replace("print", "if __name__ == '__main__':\n    print"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=env, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Run results/")


def test_the_example_of_a_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("training_loop", REPO / "examples" / "training_loop.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    runs = example.main("toy", "push", workers=2, episodes_per_task=2)
    assert [run.success_rate for run in runs] == [1.0, 1.0, 1.0]
    assert "round 3: loss 0.0" in capsys.readouterr().out
