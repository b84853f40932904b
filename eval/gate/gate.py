"""The gate: run only as many episodes as it takes to tell whether a policy got worse than a baseline run.

The episodes come in rounds (see `gate_design`); after each, the verdict of `vla-eval compare` is read from an interval that is wide
enough for stopping early. What later rounds have run by then is kept but has no say, so that quick episodes do not count more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from ...edges.text import differences
from ...envs.registry import make_suite
from ...envs.suite import protocol_sha256
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, RunError
from ..compare.comparison import Comparison, Question, compare_sides
from ..compare.sources import side_of_run
from ..plan.config import RunConfig
from ..plan.plan import EpisodeQueue, RoundsQueue, plan_episodes
from ..record.events import Subscriber
from ..run.evaluation import Outcome, evaluate, resume
from ..tables.folder import RunFolder
from ..tables.runs import Run
from .design import LOOKS, Design


@dataclass(frozen=True)
class GateOutcome:
    """What came of a gate.

    Attributes:
        run: What was run.
        comparison: The verdict and what it rests on; None if the gate was interrupted before its first look.
    """

    run: Outcome
    comparison: Comparison | None


def run_gate(
    baseline: Run,
    config: RunConfig,
    question: Question,
    looks: int = LOOKS,
    subscribers: Sequence[Subscriber] = (),
    report: Callable[[int, Comparison], None] = lambda look, comparison: None,
    resumed: bool = False,
) -> GateOutcome:
    """Run a policy against a baseline until the verdict is clear, or the plan is done.

    Args:
        baseline: A complete run of the same suite.
        config: What to run; `run_dir` says where.
        question: Margin and error probability.
        looks: Most times that the data are looked at.
        subscribers: Told of everything that happens.
        report: Called with the number and the comparison of every look.
        resumed: Whether to finish an interrupted gate in `run_dir`.

    Raises:
        ConfigError: The baseline does not fit.
        VlagymError: Whatever `evaluate` raises.
    """
    if baseline.imported:
        raise ConfigError(f"{baseline.path} was imported and has no trials that a gate could run again; use vla-eval compare.")
    plan = _plan(baseline, config)
    assert config.run_dir is not None
    folder = RunFolder(Path(config.run_dir))
    gate = Gate(baseline, config, folder, Design.of(plan, question.alpha, looks), question, report)
    everyone = [*subscribers, gate]
    if resumed:
        outcome = resume(folder.path, subscribers=everyone, make_queue=gate.make_queue)
    else:
        outcome = evaluate(config, everyone, gate.make_queue)
    comparison = gate.conclude()
    if comparison is not None:
        verdict = {"verdict": comparison.verdict, "reason": comparison.reason, "notes": comparison.notes}
        asked = {
            "baseline": str(baseline.path),
            "margin": question.margin,
            "alpha": question.alpha,
            "looks": len(gate.design.rounds),
        }
        with folder.open_log():  # so that nobody else goes on with the run meanwhile
            folder.write_header({**folder.header(), "gate": {**asked, **verdict, "look": gate.look}})
    return GateOutcome(outcome, comparison)


class Gate(Subscriber):
    """Looks at a run after every round and says when it has seen enough.

    Args:
        baseline: What the run is compared with.
        config: The run's settings.
        folder: The run's folder.
        design: Rounds and levels.
        question: What is asked.
        report: Called with the number and the comparison of every look.

    Attributes:
        look: Number of the last look, from 1; 0 before the first.
    """

    def __init__(
        self,
        baseline: Run,
        config: RunConfig,
        folder: RunFolder,
        design: Design,
        question: Question,
        report: Callable[[int, Comparison], None],
    ) -> None:
        self.design = design
        self.look = 0
        self._baseline = baseline
        self._config = config
        self._folder = folder
        self._question = question
        self._report = report
        self._results: dict[EpisodeSpec, EpisodeResult] = {}
        self._comparison: Comparison | None = None
        self._failed = False

    def make_queue(self, episodes: Sequence[EpisodeSpec]) -> EpisodeQueue:
        """The episodes in rounds, until there are enough."""
        missing = set(episodes)
        return RoundsQueue([[spec for spec in episodes if spec in missing] for episodes in self.design.rounds], self.enough)

    def enough(self) -> bool:
        """Whether the verdict is clear, or cannot become clear because an episode could not be run."""
        decided = self._comparison is not None and self._comparison.verdict != "cannot tell"
        return decided or self._failed

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._results = {result.spec: result for result in finished}
        self._look_if_due()

    def episode_ended(self, result: EpisodeResult) -> None:
        self._results[result.spec] = result
        self._failed = self._failed or (result.error is not None and not self._question.allow_incomplete)
        self._look_if_due()

    def conclude(self) -> Comparison | None:
        """The last look's comparison; if an episode could not be run, one of everything that was.

        Raises:
            RunError: An episode could not be run and there is nothing to compare.
        """
        if self._failed:
            errors = [f"{result.spec.id}: {result.error}" for result in self._results.values() if result.error]
            if len(errors) == len(self._results):
                raise RunError(f"the gate cannot tell: {errors[0]}")
            return self._compare(set(self._results), self._question.alpha)
        return self._comparison

    def _look_if_due(self) -> None:
        while not self.enough() and self.look < len(self.design.rounds):
            seen = set(chain(*self.design.rounds[: self.look + 1]))
            if not seen <= self._results.keys():
                return
            self.look += 1
            self._comparison = self._compare(seen, self.design.alphas[self.look - 1])
            self._report(self.look, self._comparison)

    def _compare(self, seen: set[EpisodeSpec], alpha: float) -> Comparison:
        current = Run(self._folder.path, self._config, self._folder.header(), tuple(self._results), tuple(self._results.values()))
        sides = [side_of_run(_restricted(run, seen)) for run in (self._baseline, current)]
        comparison = compare_sides(sides[0], sides[1], replace(self._question, alpha=alpha))
        planned = sum(map(len, self.design.rounds))
        note = (
            f"Look {self.look} of {len(self.design.rounds)}, after {len(seen)} of {planned} planned episodes. The interval is as "
            f"wide as looking several times requires: either verdict is wrong with probability {self._question.alpha:g} at most."
        )
        return replace(comparison, notes=(note, *comparison.notes))


def _restricted(run: Run, seen: set[EpisodeSpec]) -> Run:
    return replace(
        run,
        plan=tuple(spec for spec in run.plan if spec in seen),
        results=tuple(result for result in run.results if result.spec in seen),
    )


def _plan(baseline: Run, config: RunConfig) -> list[EpisodeSpec]:
    """The episodes that may have to be run.

    Raises:
        ConfigError: The baseline measured something else, or lacks some of them.
    """
    if len(config.legs) != 1:
        raise ConfigError("a gate runs one suite at a time; start one for each.")
    suite = make_suite(config.legs[0].suite)
    recorded = next((leg for leg in baseline.header["legs"] if leg["suite"] == suite.name), None)
    if recorded is None:
        raise ConfigError(f"{baseline.path} is no baseline for {suite.name}: it has other suites only.")
    protocol = suite.protocol()
    if protocol_sha256(protocol) != recorded["protocol_sha256"]:
        raise ConfigError(f"{baseline.path} measured something else: {differences(recorded['protocol'], protocol)}.")
    plan = plan_episodes([suite], config.tasks, config.episodes_per_task, config.seeds, config.trials)
    usable = {result.spec for result in baseline.results if result.error is None}
    lacking = [spec.id for spec in plan if spec not in usable]
    if lacking:
        raise ConfigError(
            f"{baseline.path} has no result for {len(lacking)} of the {len(plan)} planned episodes, e.g. {lacking[0]}. "
            "Finish it first, or plan fewer (tasks=, episodes_per_task=, trials=, seeds=)."
        )
    return plan
