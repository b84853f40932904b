"""Seats: several instances of a policy answer at the same time, and what becomes of episodes that one of them loses."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_suite import PushPolicy, ToySuite

from vlagym.errors import PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run import seats as seats_module
from vlagym.eval.run.evaluation import Outcome, evaluate, resume
from vlagym.eval.run.seats import SeatPool
from vlagym.eval.tables.folder import RunFolder
from vlagym.policies.base import Policy, PolicyObservation, SeatLostError

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]


class Seated(PushPolicy):
    """A policy with three seats that keeps which of them answered whom, and how often; `before` is called before an answer."""

    log: list[tuple[int, str]]
    before: Callable[[int, list[str]], None]
    number = 0

    def seats(self, at_once: int) -> list[Policy]:
        made = [copy.copy(self) for _ in range(3)]
        for number, seat in enumerate(made):
            seat.number = number
        return list(made)

    def act(self, observations: Sequence[PolicyObservation]) -> list[np.ndarray]:
        ids = [observation["episode_id"] for observation in observations]
        type(self).before(self.number, ids)
        self.log.extend((self.number, episode) for episode in ids)
        return super().act(observations)


@pytest.fixture
def seated(monkeypatch: pytest.MonkeyPatch) -> type[Seated]:
    """The class that ``policy=push`` then names."""
    import toy_suite

    monkeypatch.setattr(Seated, "log", [], raising=False)
    monkeypatch.setattr(Seated, "before", staticmethod(lambda number, ids: None), raising=False)
    monkeypatch.setattr(Seated, "max_batch", 1)
    monkeypatch.setattr(toy_suite, "PushPolicy", Seated)
    return Seated


def test_seats_answer_at_the_same_time(seated: type[Seated], run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3)
    met: list[int] = []

    def before(number: int, ids: list[str]) -> None:
        if len(met) < 3:  # the first question of each: nobody gets further alone
            met.append(together.wait(60))

    monkeypatch.setattr(seated, "before", staticmethod(before))
    assert run_toy("episodes_per_task=3", "workers=3", "video=none").complete
    assert sorted(met) == [0, 1, 2]


def test_an_episode_stays_with_its_seat(seated: type[Seated], run_toy: Run) -> None:
    run_toy("episodes_per_task=5", "workers=5", "video=none")
    seats_of: dict[str, set[int]] = {}
    for number, episode in seated.log:
        seats_of.setdefault(episode, set()).add(number)
    assert len(seats_of) == 10
    assert all(len(numbers) == 1 for numbers in seats_of.values())


@pytest.mark.parametrize("stays", [True, False])
def test_results_do_not_depend_on_seats(
    stays: bool, seated: type[Seated], run_toy: Run, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seated, "episodes_stay", stays)
    monkeypatch.setattr(seated, "max_episodes", 1 if stays else None)
    many = run_toy("episodes_per_task=3", "workers=3", "video=none", name="many")
    monkeypatch.setattr(seated, "seats", lambda self, at_once: [self])
    one = run_toy("episodes_per_task=3", "workers=1", "video=none", name="one")
    assert records(many.folder) == records(one.folder)


def test_a_seat_has_no_more_episodes_than_it_can_keep(seated: type[Seated], run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    most: list[int] = []
    monkeypatch.setattr(seated, "max_episodes", 1)
    monkeypatch.setattr(seated, "reset", lambda self, ids: (kept[self.number].update(ids), most.append(len(kept[self.number]))))
    monkeypatch.setattr(seated, "release", lambda self, ids: kept[self.number].difference_update(ids))
    assert run_toy("episodes_per_task=4", "workers=5", "video=none").complete
    assert max(most) == 1
    assert kept == {0: set(), 1: set(), 2: set()}


@pytest.mark.parametrize("stays", [True, False])
def test_what_a_seat_loses_is_run_again(
    stays: bool, seated: type[Seated], run_toy: Run, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run_toy("episodes_per_task=4", "workers=4", "video=none", name="undisturbed")
    calls = iter(range(10_000))

    def before(number: int, ids: list[str]) -> None:
        if next(calls) in (1, 7):
            raise SeatLostError("the server went away")

    monkeypatch.setattr(seated, "before", staticmethod(before))
    monkeypatch.setattr(seated, "episodes_stay", stays)
    disturbed = run_toy("episodes_per_task=4", "workers=4", "video=none", name="disturbed")
    assert disturbed.complete
    assert records(disturbed.folder) == records(undisturbed.folder)
    attempts = sum(result.execution["attempts"] for result in RunFolder(disturbed.folder).results())
    assert attempts >= 8 + 2 if stays else attempts == 8 + 2


def test_a_policy_that_is_gone_ends_the_run_which_can_be_resumed(
    seated: type[Seated], run_toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(number: int, ids: list[str]) -> None:
        raise SeatLostError("nobody answers")

    with monkeypatch.context() as now:
        now.setattr(seated, "before", staticmethod(gone))
        with pytest.raises(PolicyError, match="2 episodes in a row got no answer from the policy: nobody answers"):
            run_toy("episodes_per_task=4", "workers=1", "attempts=2", "video=none")
    errors = [result.error for result in RunFolder(tmp_path / "run").results()]
    assert errors == ["nobody answers"] * 2
    outcome = resume(tmp_path / "run")
    assert outcome.complete
    assert len(RunFolder(tmp_path / "run").results()) >= 8


def test_a_policy_that_calls_exit_ends_the_run_with_an_error(
    seated: type[Seated], run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seated, "before", staticmethod(lambda number, ids: sys.exit(0)))
    with pytest.raises(PolicyError, match=r"called sys.exit\(0\)"):
        run_toy("episodes_per_task=1", "workers=1", "video=none")


def test_a_policy_that_hangs_is_named_and_ends_the_run(
    seated: type[Seated], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard: list[str] = []
    woken = threading.Event()
    monkeypatch.setattr(seats_module, "_FIRST_NOTICE_S", 0.2)
    monkeypatch.setattr(seats_module, "_CLOSE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(seated, "before", staticmethod(lambda number, ids: woken.wait(60)))
    settings = ["suite=toy", "policy=push", "episodes_per_task=1", "workers=1", "video=none", "policy_timeout_s=1"]

    class Hearing(Subscriber):
        def waiting(self, name: str, seconds: float) -> None:
            heard.append(name)

    with pytest.raises(PolicyError, match=r"has not answered for 1 s \(policy_timeout_s\), asked about toy/"):
        evaluate(load_config([*settings, f"run_dir={tmp_path / 'hangs'}"]), [Hearing()])
    woken.set()
    assert heard
    assert heard[0].startswith("Seated seat 0 (asked about 1")


def test_an_error_in_the_last_release_is_not_lost() -> None:
    class Clumsy(PushPolicy):
        def release(self, episode_ids: Sequence[str]) -> None:
            raise ZeroDivisionError("released too much")

    suite = ToySuite()
    observation: PolicyObservation = {
        "images": {},
        "state": np.zeros(1, np.float32),
        "instruction": "x",
        "episode_id": "a",
        "step": 0,
        "privileged": {"position": np.zeros(1)},
    }
    with pytest.raises(ZeroDivisionError), SeatPool(Clumsy(suite), suite, 1, 30) as pool:
        assert pool.ask([observation], {"a"}) == ["a"]
        while not list(pool.answers()):
            pass
        pool.forget("a", again=False)
