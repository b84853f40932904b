"""The gate: its design against published values, its error rates by simulation, and whole gates on the toy suite."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from toy_suite import ToySuite

import vlagym
from vlagym.episode import EpisodeResult, EpisodeSpec
from vlagym.errors import ConfigError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import gate as cli_gate
from vlagym.eval.compare.comparison import Question, Verdict, judge
from vlagym.eval.gate.design import Design, critical_values, spent_alpha
from vlagym.eval.gate.gate import run_gate
from vlagym.eval.plan.config import load_config
from vlagym.eval.plan.plan import RoundsQueue, plan_episodes
from vlagym.eval.record.events import Subscriber
from vlagym.eval.run.evaluation import Outcome
from vlagym.eval.tables.folder import RunFolder
from vlagym.eval.tables.statistics import mean_interval

Run = Callable[..., Outcome]
FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


# Lan and DeMets's functions at 2.5 % and five looks, as in the manuals of R's ldbounds and gsDesign.
@pytest.mark.parametrize(
    ("spent", "published"),
    [
        ([2 * norm.sf(norm.isf(0.0125) / t**0.5) for t in FIFTHS], [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ([0.025 * np.log(1 + (np.e - 1) * t) for t in FIFTHS], [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_critical_values_are_the_published_ones(spent: list[float], published: list[float]) -> None:
    assert critical_values(FIFTHS, spent) == pytest.approx(published, abs=2e-4)


def test_one_look_is_an_ordinary_test() -> None:
    assert critical_values([1.0], [0.05]) == pytest.approx([norm.isf(0.05)])
    assert spent_alpha(1.0, 0.05) == 0.05


def test_every_look_sees_the_same_share_of_every_task() -> None:
    plan = [EpisodeSpec("s", task, trial, seed) for task, n in (("a", 50), ("b", 24)) for seed in (0, 1) for trial in range(n)]
    design = Design.of(plan, 0.05)
    assert sorted(spec for episodes in design.rounds for spec in episodes) == sorted(plan)
    seen: Counter[str] = Counter()
    for number, episodes in enumerate(design.rounds, 1):
        seen.update(spec.task for spec in episodes)
        assert seen["a"] == 2 * 5 * number
        assert abs(seen["b"] - 48 * number / 10) <= 2
        assert {(s.task, s.trial) for s in episodes if s.seed == 0} == {(s.task, s.trial) for s in episodes if s.seed == 1}
    assert [spec.trial for spec in design.rounds[0]] != sorted(spec.trial for spec in plan)[: len(design.rounds[0])]
    assert list(design.alphas) == sorted(design.alphas)
    assert design.alphas[-1] < 0.05


def test_short_plans_are_looked_at_less_often() -> None:
    assert len(Design.of([EpisodeSpec("s", "t", trial) for trial in range(3)], 0.05).rounds) == 3
    assert Design.of([EpisodeSpec("s", "t", 0)], 0.05).alphas == (pytest.approx(0.05),)


@functools.cache
def verdict_of(lost: int, gained: int, number: int, alpha: float, margin: float) -> Verdict:
    differences = np.r_[-np.ones(lost), np.ones(gained), np.zeros(number - lost - gained)]
    return judge(mean_interval([differences], support=(-1, 1), confidence=1 - 2 * alpha), margin)


def simulate(design: Design, differing: float, difference: float, gates: int, margin: float = 0.1) -> tuple[Counter[str], float]:
    """Verdicts of so many gates, and how many trials they took on average, when trials differ so often and by so much."""
    generator = np.random.default_rng(0)
    lost, gained = (differing - difference) / 2, (differing + difference) / 2
    ends = np.cumsum([len(episodes) for episodes in design.rounds])
    verdicts: Counter[str] = Counter()
    taken = 0
    for _ in range(gates):
        outcomes = generator.choice([-1, 1, 0], size=ends[-1], p=[lost, gained, 1 - differing])
        for end, alpha in zip(ends, design.alphas, strict=True):
            seen = outcomes[:end]
            verdict = verdict_of(int((seen < 0).sum()), int((seen > 0).sum()), int(end), alpha, margin)
            if verdict != "cannot tell":
                break
        verdicts[verdict] += 1
        taken += end
    return verdicts, taken / gates


def test_simulated_gates_err_as_rarely_as_promised_and_save_episodes() -> None:
    gates, plan = 1500, 200
    design = Design.of([EpisodeSpec("s", "t", trial) for trial in range(plan)], alpha=0.05, looks=5)
    # Exactly at the margin either verdict is an error; 3 standard errors of the simulation are 0.017.
    at_margin, _ = simulate(design, 0.2, -0.1, gates)
    assert at_margin["regression"] / gates < 0.05 + 0.017
    assert at_margin["no regression"] / gates < 0.05 + 0.017
    # A policy that is as good is passed about as often as by a test of all 200 trials (93 %), and hardly ever failed.
    as_good, taken = simulate(design, 0.2, 0.0, gates)
    assert as_good["no regression"] / gates > 0.88
    assert as_good["regression"] / gates < 0.002
    assert taken < 0.7 * plan
    # A drop of twice the margin and more is found, the sooner the larger it is.
    much_worse, taken_at_25 = simulate(design, 0.4, -0.25, gates)
    assert much_worse["regression"] / gates > 0.9
    assert taken_at_25 < 0.65 * plan
    far_worse, taken_at_60 = simulate(design, 0.7, -0.6, gates)
    assert far_worse["regression"] == gates
    assert taken_at_60 < 0.25 * plan
    # The same policy in a simulator that repeats itself: not a single trial differs.
    same, taken_by_same = simulate(design, 1e-9, 0.0, 200)
    assert same["no regression"] == 200
    assert taken_by_same <= 0.4 * plan


def test_rounds_are_handed_out_in_order_until_there_are_enough() -> None:
    plan = plan_episodes([ToySuite()], episodes_per_task=4)
    rounds = [[spec for spec in plan if spec.trial // 2 == number] for number in (0, 1)]
    enough = False
    queue = RoundsQueue(rounds, lambda: enough)
    first = [queue.take(worker) for worker in (0, 1, 0, 1)]
    assert {spec for spec in first if spec} == set(rounds[0])
    assert first[0] is not None
    queue.put_back(first[0], 0)
    assert queue.take(1) == first[0]
    assert len(queue) == 4
    enough = True
    assert len(queue) == 0
    assert queue.take(0) is None


@pytest.fixture
def baseline(run_toy: Run) -> Path:
    """All 20 trials of the toy suite, all solved."""
    return run_toy("video=none", name="baseline").folder


def test_the_same_policy_passes_early(baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "gate"
    code = cli_gate.main([f"baseline={baseline}", "policy=push", "margin=30", f"run_dir={run}", f"junit={tmp_path / 'out.xml'}"])
    shown = capsys.readouterr().out
    assert code == 0
    assert "NO REGRESSION" in shown
    gated = vlagym.load_run(run)
    assert len(gated.plan) == 20
    assert len(gated.results) < 20
    assert gated.header["gate"]["verdict"] == "no regression"
    assert gated.header["gate"]["look"] * 2 <= len(gated.results)
    assert "<failure" not in (tmp_path / "out.xml").read_text()


def test_a_worse_policy_fails_early_and_its_failures_are_on_video(baseline: Path, tmp_path: Path) -> None:
    run = tmp_path / "gate"
    before = {file: file.read_bytes() for file in baseline.rglob("*") if file.is_file()}
    assert cli_gate.main([f"baseline={baseline}", "policy=random", f"run_dir={run}", f"markdown={tmp_path / 'out.md'}"]) == 1
    assert before == {file: file.read_bytes() for file in baseline.rglob("*") if file.is_file()}
    gated = vlagym.load_run(run)
    assert len(gated.results) < 20
    assert len(list((run / "videos").glob("*success=False*.mp4"))) == sum(not result.success for result in gated.results)
    assert "# ❌ Regression" in (tmp_path / "out.md").read_text()
    (notice,) = gated.notices
    assert notice.startswith("gate was run by a gate against baseline, which ended at look")


def test_a_gate_that_cannot_tell_runs_the_whole_plan(baseline: Path, tmp_path: Path) -> None:
    run = tmp_path / "gate"
    assert cli_gate.main([f"baseline={baseline}", "policy=push", "margin=1", f"run_dir={run}", "video=none"]) == 3
    assert vlagym.load_run(run).complete


class Saboteur(Subscriber):
    """Makes the next episode fail as soon as `after` have ended."""

    def __init__(self, plant: Callable[..., None], after: int) -> None:
        self.plant, self.left = plant, after

    def episode_ended(self, result: EpisodeResult) -> None:
        self.left -= 1
        if self.left == 0:
            self.plant("raises")


def test_an_episode_that_cannot_be_run_ends_the_gate_undecided(baseline: Path, tmp_path: Path, faults: Callable[..., None]) -> None:
    overrides = ["suite=toy", "policy=push", f"run_dir={tmp_path / 'gate'}", "workers=1", "attempts=1", "video=none"]
    outcome = run_gate(vlagym.load_run(baseline), load_config(overrides), Question(margin=0.3), subscribers=[Saboteur(faults, 3)])
    assert outcome.comparison is not None
    assert outcome.comparison.verdict == "cannot tell"
    assert "gate is incomplete: 1 episode could not be run" in outcome.comparison.reason
    assert len(vlagym.load_run(tmp_path / "gate").results) == 4


def test_a_gate_that_was_interrupted_is_finished(run_toy: Run, tmp_path: Path) -> None:
    baseline = run_toy("video=none", "suite.step_seconds=0.002", name="slow").folder
    settings = [
        f"baseline={baseline}",
        "policy=push",
        "margin=1",
        "suite.step_seconds=0.002",
        f"run_dir={tmp_path / 'gate'}",
        "workers=1",
    ]
    code = "import sys; from vlagym.eval.cli import main; sys.exit(main())"
    helpers = str(Path(__file__).parents[2] / "helpers")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-uc", code, "gate", *settings], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("look 2"))
        process.send_signal(signal.SIGTERM)  # Ctrl-C is ignored where the tests run in the background
        process.communicate()
    assert process.returncode == 130
    before = RunFolder(tmp_path / "gate").results()
    assert 4 <= len(before) < 20
    assert cli_gate.main([f"resume={tmp_path / 'gate'}", f"baseline={baseline}", "margin=1"]) == 3
    assert vlagym.load_run(tmp_path / "gate").complete


def test_the_baselines_settings_of_the_suite_are_kept(run_toy: Run, tmp_path: Path) -> None:
    baseline = run_toy("suite.goal=0.9", "suite.trials=3", "video=none", name="baseline").folder
    assert cli_gate.main([f"baseline={baseline}", "policy=push", "margin=90", f"run_dir={tmp_path / 'gate'}"]) == 0
    assert vlagym.load_run(tmp_path / "gate").config.legs[0].suite["goal"] == 0.9


def test_a_baseline_that_does_not_fit_is_refused(baseline: Path, run_toy: Run, tmp_path: Path) -> None:
    short = run_toy("episodes_per_task=2", "video=none", name="short").folder
    with pytest.raises(ConfigError, match="no result for 2 of the 6 planned episodes, e.g. toy/push_right/2/0"):
        cli_gate.main([f"baseline={short}", "policy=push", "episodes_per_task=3"])
    with pytest.raises(ConfigError, match="measured something else: goal: 1.0 -> 0.5"):
        cli_gate.main([f"baseline={baseline}", "policy=push", "suite.goal=0.5"])
    other = write_run(tmp_path / "other", {"mine": {"t": 3}}, lambda spec: True)
    with pytest.raises(ConfigError, match="has other suites only"):
        cli_gate.main([f"baseline={other}", "policy=push", "suite=toy"])
    with pytest.raises(ConfigError, match="name the run to compare with"):
        cli_gate.main(["policy=push"])
    with pytest.raises(ConfigError, match="'many' is not a value that margin can have"):
        cli_gate.main([f"baseline={baseline}", "margin=many"])
    assert not (tmp_path / "results").exists()
