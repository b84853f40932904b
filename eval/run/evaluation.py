"""One evaluation from configuration to tables: what `vla-eval` and `vlagym.eval.evaluate` do."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs.registry import make_suite
from ...envs.suite import Suite
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, RunError
from ...policies.base import Policy
from ...policies.registry import make_policy
from ..plan.config import EXECUTION_SETTINGS, Leg, RunConfig, default_run_dir
from ..plan.plan import EpisodeQueue, plan_episodes, plan_sha256
from ..record.events import Subscriber
from ..record.provenance import differences, environment, leg_header
from ..record.store import Store
from ..record.trackers import TrackedRun, Tracking, load_trackers
from ..tables.folder import RunFolder
from ..tables.runs import merged_notices
from ..tables.success import chain_table, group_table, success_table, write_summary
from .rollout import RecordSettings
from .runner import Runner
from .workers import default_worker_count, worker_settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """What came of a call of `evaluate`.

    Attributes:
        folder: The run's folder.
        table: `vlagym.eval.tables.success.success_table` of all results so far.
        chains: `vlagym.eval.tables.success.chain_table` of them; empty where no episode is a chain.
        groups: `vlagym.eval.tables.success.group_table` of them; empty where no suite has groups of tasks.
        notices: Sentences every output must carry.
        complete: Whether every planned episode has a result that is not an error.
        interrupted: Whether it was stopped by Ctrl-C or SIGTERM.
    """

    folder: Path
    table: pd.DataFrame
    chains: pd.DataFrame
    groups: pd.DataFrame
    notices: list[str]
    complete: bool
    interrupted: bool


MakeQueue = Callable[[Sequence[EpisodeSpec]], EpisodeQueue]


def evaluate(config: RunConfig, subscribers: Sequence[Subscriber] = (), make_queue: MakeQueue = EpisodeQueue) -> Outcome:
    """Run an evaluation in a new folder.

    Args:
        config: What to run.
        subscribers: Told of everything that happens.
        make_queue: Puts a leg's episodes in the order in which they are handed out.

    Raises:
        VlagymError: Something that can be mended: a setting, an asset, the policy, the disk. Finished episodes are kept.
    """
    return _Evaluation(config, make_queue=make_queue).start(subscribers)


def resume(
    path: Path,
    execution: RunConfig | None = None,
    names: Sequence[str] = (),
    subscribers: Sequence[Subscriber] = (),
    make_queue: MakeQueue = EpisodeQueue,
) -> Outcome:
    """Finish an interrupted run: only what is missing, and what ended in an error, is run.

    Args:
        path: The run's folder.
        execution: Where the settings in `names` are taken from instead of the recorded ones.
        names: Which of `EXECUTION_SETTINGS`.
        subscribers: Told of everything that happens.
        make_queue: Puts a leg's episodes in the order in which they are handed out.

    Raises:
        RunError: Not a run, or its protocol, plan or policy is no longer the recorded one.
    """
    folder = RunFolder(path)
    config = folder.config()
    if execution is not None:
        config = config.with_execution_of(execution, names)
    return _Evaluation(config, folder, make_queue).resume(subscribers)


class _Evaluation:
    """The steps of one evaluation. Everything that can be refused is refused before the folder is made."""

    def __init__(self, config: RunConfig, folder: RunFolder | None = None, make_queue: MakeQueue = EpisodeQueue) -> None:
        config.assets.export()
        self.config = config
        self.folder = folder
        self.make_queue = make_queue
        self.suites = [make_suite(leg.suite) for leg in config.legs]
        self.plan = plan_episodes(self.suites, config.tasks, config.episodes_per_task, config.seeds, config.trials)
        _check_video_cameras(config, self.suites)
        self.trackers = load_trackers(config.trackers)
        for suite in self.suites:
            suite.check_ready()
        self.header = {
            "run_id": uuid.uuid4().hex,
            **environment(),
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "stamp": time.strftime("%Y_%m_%d-%H_%M_%S"),
            "episodes": len(self.plan),
            "plan_sha256": plan_sha256(self.plan),
            "legs": [leg_header(suite, leg, self.plan) for suite, leg in zip(self.suites, config.legs, strict=True)],
        }

    def start(self, subscribers: Sequence[Subscriber]) -> Outcome:
        policies = self._policies()
        stamp = self.header["stamp"]
        self.folder = RunFolder(Path(self.config.run_dir) if self.config.run_dir else default_run_dir(self.config, stamp))
        self.folder.create(self.config, self.header)
        return self._run([], policies, subscribers)

    def resume(self, subscribers: Sequence[Subscriber]) -> Outcome:
        assert self.folder is not None
        recorded = self.folder.header()
        self._check_same(recorded)
        session = {**environment(), "at": self.header["created"]}
        self.header = {"run_id": self.header["run_id"], **recorded, "resumed": [*recorded.get("resumed", []), session]}
        planned = set(self.plan)
        finished = [result for result in self.folder.results() if result.error is None and result.spec in planned]
        return self._run(finished, self._policies(), subscribers)

    def _run(self, finished: list[EpisodeResult], policies: Iterator[Policy], subscribers: Sequence[Subscriber]) -> Outcome:
        assert self.folder is not None
        done = {result.spec for result in finished}
        collected = _Results(finished)
        tracked = TrackedRun(self.folder.path.resolve(), self.header["run_id"], {"config": self.config.to_json(), **self.header})
        tracking = [Tracking(name, tracker(), tracked) for name, tracker in self.trackers]
        everyone: list[Subscriber] = [Store(self.folder), collected, *tracking, *subscribers]
        interrupted = False
        for subscriber in everyone:
            subscriber.run_started(self.plan, finished)
        try:
            with _interrupt_on_sigterm():
                for number, suite in enumerate(self.suites):
                    missing = [(i, spec) for i, spec in enumerate(self.plan) if spec.suite == suite.name and spec not in done]
                    policy = next(policies)
                    try:
                        self._check_policy(number, policy)
                        if missing:
                            self._run_leg(suite, self.config.legs[number], policy, missing, everyone)
                    finally:
                        policy.close()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._finish(collected, everyone, interrupted)
        table = success_table(collected.results, self.plan)
        complete = sum(result.error is None for result in collected.results) == len(self.plan)
        chains, groups = self._chains(collected), self._groups(collected)
        return Outcome(self.folder.path, table, chains, groups, merged_notices(self.header), complete, interrupted)

    def _run_leg(
        self, suite: Suite, leg: Leg, policy: Policy, episodes: list[tuple[int, EpisodeSpec]], subscribers: Sequence[Subscriber]
    ) -> None:
        assert self.folder is not None
        record = RecordSettings(
            run_dir=self.folder.path.resolve(),
            stamp=self.header["stamp"],
            policy=leg.policy["name"],
            video=self.config.video,
            cameras=suite.cameras if self.config.video_cameras is None else self.config.video_cameras,
            fps=self.config.video_fps or suite.action_spec.control_hz,
        )
        runner = Runner(
            policy,
            worker_settings(suite, policy, record, self.config.egl_devices),
            default_worker_count(len(episodes), self.config.workers),
            self.config.worker_timeout_s,
            self.config.attempts,
            subscribers,
            self.config.policy_timeout_s,
        )
        runner.run(episodes, self.make_queue([spec for _, spec in episodes]))

    def _policies(self) -> Iterator[Policy]:
        """Policies leg by leg; the first is built at once, so that a bad setting is refused before a folder is made."""
        first = self._make_policy(0)
        return (first if number == 0 else self._make_policy(number) for number in range(len(self.suites)))

    def _make_policy(self, number: int) -> Policy:
        return make_policy(self.config.legs[number].policy, self.suites[number])

    def _check_policy(self, number: int, policy: Policy) -> None:
        """Record what the policy is made of, or make sure that a resumed run goes on with the same."""
        assert self.folder is not None
        leg = self.header["legs"][number]
        provenance = policy.provenance()
        if leg["policy_provenance"] not in (None, provenance):
            raise RunError(
                f"{self.folder.path} was run with another policy: {differences(leg['policy_provenance'], provenance)}. "
                "Start a new run, or bring back what changed."
            )
        leg["policy_provenance"] = provenance
        self.folder.write_header(self.header)

    def _check_same(self, recorded: dict[str, Any]) -> None:
        assert self.folder is not None
        for old, new in zip(recorded["legs"], self.header["legs"], strict=True):
            if old["protocol_sha256"] != new["protocol_sha256"]:
                raise RunError(
                    f"{self.folder.path} cannot be resumed: the protocol of {new['suite']} is no longer the recorded one "
                    f"({differences(old['protocol'], new['protocol'])})."
                )
            if old["suite_provenance"] != new["suite_provenance"]:
                raise RunError(
                    f"{self.folder.path} cannot be resumed on this machine: {new['suite']} would run on something else "
                    f"({differences(old['suite_provenance'], new['suite_provenance'])})."
                )
        if recorded["plan_sha256"] != self.header["plan_sha256"]:
            raise RunError(f"{self.folder.path} cannot be resumed: its settings now give another plan than the recorded one.")

    def _finish(self, collected: _Results, subscribers: Sequence[Subscriber], interrupted: bool) -> None:
        assert self.folder is not None
        for subscriber in subscribers:
            subscriber.run_ended(interrupted)
        table = success_table(collected.results, self.plan)
        write_summary(self.folder.path, table, merged_notices(self.header), self._chains(collected), self._groups(collected))

    def _groups(self, collected: _Results) -> pd.DataFrame:
        groups = {(suite.name, task.name): task.group for suite in self.suites for task in suite.tasks()}
        return group_table(collected.results, self.plan, groups)

    def _chains(self, collected: _Results) -> pd.DataFrame:
        return chain_table(collected.results, {suite.name: max(t.chain for t in suite.tasks()) for suite in self.suites})


class _Results(Subscriber):
    """Collects all results, those of earlier sessions first."""

    def __init__(self, finished: Sequence[EpisodeResult]) -> None:
        self.results = list(finished)

    def episode_ended(self, result: EpisodeResult) -> None:
        self.results.append(result)


def execution_settings_in(overrides: Sequence[str]) -> tuple[str, ...]:
    """The execution settings that overrides of a resumed run name.

    Raises:
        ConfigError: One of them would change what is measured.
    """
    names = []
    for override in overrides:
        name = override.partition("=")[0].partition(".")[0]
        if name not in EXECUTION_SETTINGS:
            raise ConfigError(
                f"{override!r} cannot be given with resume=: a run keeps its settings. Only {', '.join(EXECUTION_SETTINGS)} may."
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def _check_video_cameras(config: RunConfig, suites: Sequence[Suite]) -> None:
    if config.video == "none" or config.video_cameras is None:
        return
    for suite in suites:
        unknown = [camera for camera in config.video_cameras if camera not in suite.cameras]
        if unknown:
            raise ConfigError(
                f"video_cameras: suite {suite.name!r} has no camera {unknown[0]!r}; it has {', '.join(suite.cameras)}."
            )


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send before they take a machine back, like Ctrl-C."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
