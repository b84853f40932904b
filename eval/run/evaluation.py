"""One evaluation from configuration to tables: what `vla-eval` and `vlagym.eval.evaluate` do."""

from __future__ import annotations

import os
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..._stages import stage
from ...edges.secrets import holds_mask, masked
from ...envs.registry import make_suite
from ...envs.spec import Task
from ...envs.suite import Suite
from ...envs.variation import all_said
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import ConfigError, RunError
from ...policies.audit import batch_record
from ...policies.base import Policy
from ...policies.devices import without_devices
from ...policies.own import code_record
from ...policies.registry import check_policy_settings, make_policy, own_code
from ..plan.config import EXECUTION_SETTINGS, OTHER_NAMES, POLICY_DEVICES, RunConfig, default_run_dir
from ..plan.plan import EpisodeQueue, plan_episodes, plan_sha256
from ..plan.shard import Shard, shard_of
from ..plan.trust import check_trusted
from ..record.events import Subscriber
from ..record.provenance import environment, leg_header
from ..record.store import Store
from ..record.trackers import TrackedRun, Tracking, load_trackers
from ..tables.folder import FolderTakenError, RunFolder
from ..tables.log import EpisodeLog
from ..tables.realtime import realtime_sheet, realtime_table
from ..tables.runs import Run, check_belong_together, merged_notices
from ..tables.shards import write_sheet
from ..tables.subject import subjects
from ..tables.success import chain_sheet, chain_table, group_sheet, group_table, success_table, write_summary
from ..tables.variants import category_sheet, category_table, coverages_of, variants_of, weighted_totals_of
from .incomplete import find_incomplete
from .launcher import Launcher, end_if_imported_again
from .pools import Pools
from .recorded import check_not_imported, check_not_live, check_same, check_same_policy, check_same_settings
from .remote_seats import RemoteSeats
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
        categories: `vlagym.eval.tables.variants.category_table` of them; empty where no suite has variants.
        timings: `vlagym.eval.tables.realtime.realtime_table` of them; empty where the world waits for the policy.
        notices: Sentences every output must carry.
        complete: Whether every planned episode has a result that is not an error.
        interrupted: Whether it was stopped by Ctrl-C or SIGTERM.
        shard: The part of the run that all of this is of; None for the whole.
    """

    folder: Path
    table: pd.DataFrame
    chains: pd.DataFrame
    groups: pd.DataFrame
    categories: pd.DataFrame
    timings: pd.DataFrame
    notices: list[str]
    complete: bool
    interrupted: bool
    shard: Shard | None = None


_T = TypeVar("_T")
MakeQueue = Callable[[Sequence[EpisodeSpec]], EpisodeQueue]
MakePolicy = Callable[[Suite], Policy]


def evaluate(
    config: RunConfig,
    subscribers: Sequence[Subscriber] = (),
    make_queue: MakeQueue = EpisodeQueue,
    stopped: Callable[[Outcome], None] = lambda outcome: None,
    live: MakePolicy | None = None,
    pools: Pools | None = None,
) -> Outcome:
    """Run an evaluation in a new folder, or a shard of it in a folder that the others share.

    A shard whose folder has results goes on from there, like a resumed run.

    Args:
        config: What to run.
        subscribers: Told of everything that happens.
        make_queue: Puts a leg's episodes in the order in which they are handed out.
        stopped: Given what there is so far, if something raises after the run's folder was made.
        live: Gives the policy for a suite, where it is an object of this process instead of what the settings name.
        pools: Where workers come from, and where they are kept; new ones that end with the run if None.

    Raises:
        VlagymError: Something that can be mended: a setting, an asset, the policy, the disk. Finished episodes are kept.
    """
    end_if_imported_again()
    shard = shard_of(config.shard, os.environ)
    pools = pools or Pools()
    with _no_exit(), config.assets.in_force(), pools.launcher(config.launcher) as launcher:
        evaluation = _Evaluation(replace(config, shard=None), launcher, None, make_queue, stopped, shard, live, pools)
        return evaluation.start(subscribers) if shard is None else evaluation.start_shard(subscribers)


def resume(
    path: Path,
    execution: RunConfig | None = None,
    names: Sequence[str] = (),
    subscribers: Sequence[Subscriber] = (),
    make_queue: MakeQueue = EpisodeQueue,
    stopped: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Finish an interrupted run: only what is missing, and what ended in an error, is run.

    An episode whose trajectory is gone is run again, a video that is gone is drawn again. A run that is refused is left as it was.

    Args:
        path: The run's folder.
        execution: Where the settings in `names` are taken from instead of the recorded ones.
        names: Which of `EXECUTION_SETTINGS`.
        subscribers: Told of everything that happens.
        make_queue: Puts a leg's episodes in the order in which they are handed out.
        stopped: Given what there is so far, if something raises on the way.

    Raises:
        RunError: Not a run, or its protocol, plan or policy is no longer the recorded one.
    """
    end_if_imported_again()
    folder = RunFolder(path)
    shard = shard_of(execution.shard if execution is not None else None, os.environ)
    with folder.open_log() if shard is None else folder.open_shard(shard) as log, _no_exit():
        config = replace(folder.config(), shard=None)
        check_not_imported(folder.path, folder.header())
        check_not_live(folder.path, config)
        check_trusted(config, execution.allow_code if execution is not None and "allow_code" in names else ())
        check_belong_together(folder, config, folder.header())
        if holds_mask(config.assets.mirror):  # an address with a password was not written down; the environment may have it
            config = replace(config, assets=replace(config.assets, mirror=None))
        if execution is not None:
            config = replace(config.with_execution_of(execution, names), shard=None)
        with config.assets.in_force(), Pools().launcher(config.launcher) as launcher:
            return _Evaluation(config, launcher, folder, make_queue, stopped, shard).resume(log, subscribers)


class _Evaluation:
    """The steps of one evaluation. Everything that can be refused is refused before the folder is made."""

    def __init__(
        self,
        config: RunConfig,
        launcher: Launcher,
        folder: RunFolder | None = None,
        make_queue: MakeQueue = EpisodeQueue,
        stopped: Callable[[Outcome], None] = lambda outcome: None,
        shard: Shard | None = None,
        live: MakePolicy | None = None,
        pools: Pools | None = None,
    ) -> None:
        self.config = config
        if live is not None and (config.launcher.seats or config.launcher.gpus_per_seat):
            raise ConfigError(
                "launcher.seats is for a policy that is named; this one is an object of its own, and answers where it is."
            )
        self.launcher = launcher
        self.live = live
        self.pools = pools
        self.shard = shard
        self.folder = folder
        self.make_queue = make_queue
        self.stopped = stopped
        self.suites = [make_suite(leg.suite) for leg in config.legs]
        self.plan = plan_episodes(self.suites, config.tasks, config.episodes_per_task, config.seeds, config.trials)
        self.part = self.plan if shard is None else shard.of(self.plan)
        present = {spec.suite for spec in self.part}
        self.legs = [number for number, suite in enumerate(self.suites) if shard is None or suite.name in present]
        _check_video_cameras(config, self.suites)
        self.trackers = load_trackers(config.trackers)
        for suite in self.suites:
            stage(f"checking the packages and the data of {suite.name}")
            suite.check_ready()
            suite.render_devices(config.egl_devices)
        if config.launcher.name != "local":
            stage("joining the cluster")
        launcher.open()
        self.created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.header = {
            "run_id": uuid.uuid4().hex,
            **environment(),
            "created": self.created,
            "stamp": time.strftime("%Y_%m_%d-%H_%M_%S"),
            "episodes": len(self.plan),
            "plan_sha256": plan_sha256(self.plan),
            "legs": [
                leg_header(suite, leg, self.plan, config.realtime) for suite, leg in zip(self.suites, config.legs, strict=True)
            ],
        }

    def start(self, subscribers: Sequence[Subscriber]) -> Outcome:
        policies = self._policies()
        first, log = self._accepted(policies, self._create)
        with log:
            return self._run(log, [], chain(first, policies), subscribers)

    def start_shard(self, subscribers: Sequence[Subscriber]) -> Outcome:
        """Run a shard; of the shards of a run, whichever comes first makes the folder."""
        if self.config.run_dir is None:
            raise ConfigError(f"shard={self.shard} needs run_dir=FOLDER, the same for all shards and on storage that they share.")
        self.folder = RunFolder(Path(self.config.run_dir))
        if self.folder.is_run():  # what can be refused is, before a policy is built
            with self._join() as log:
                return self._go_on(log, subscribers)
        policies = self._policies()
        first, log = self._accepted(policies, self._create_shared)
        with log:
            return self._run(log, self._finished(), chain(first, policies), subscribers)

    def resume(self, log: EpisodeLog, subscribers: Sequence[Subscriber]) -> Outcome:
        self._adopt()
        return self._go_on(log, subscribers)

    def _go_on(self, log: EpisodeLog, subscribers: Sequence[Subscriber]) -> Outcome:
        """Run what the folder, whose header has been adopted, has not yet."""
        finished = self._finished()
        policies = self._policies()
        first, _ = self._accepted(policies, self._write_record)
        return self._run(log, finished, chain(first, policies), subscribers)

    def _adopt(self) -> None:
        """Go on with what the folder says of the run, if it is the same that would be run now."""
        assert self.folder is not None
        recorded = self.folder.header()
        check_same(self.folder.path, recorded, self.header)
        session = [] if self.shard else [{**environment(), "at": self.created}]
        resumed = [*recorded.get("resumed", []), *session]
        self.header = {"run_id": self.header["run_id"], **recorded, **({"resumed": resumed} if resumed else {})}

    def _accepted(self, policies: Iterator[Policy], begin: Callable[[], _T]) -> tuple[list[Policy], _T]:
        """The first policy (a shard without episodes has none), and what comes of beginning the run with the right one."""
        first = [*islice(policies, 1)]
        try:
            for policy in first:
                self._note_policy(self.legs[0], policy)
            return first, begin()
        except BaseException:
            for policy in first:
                with suppress(Exception):  # the first error is the one that says what to mend
                    policy.close()
            raise

    def _create_shared(self) -> EpisodeLog:
        """Make the folder of a shard's run, or find that another shard has; then be one of them."""
        assert self.folder is not None
        noted = [(number, leg["policy_provenance"]) for number, leg in enumerate(self.header["legs"])]
        self.folder.create_or_find(self.config, self.header)
        log = self._join()
        try:
            for number, provenance in noted:
                if provenance is not None:
                    self._note_provenance(number, provenance)
            self._write_record()
        except BaseException:
            log.close()
            raise
        return log

    def _join(self) -> EpisodeLog:
        """The shard's own file in the folder of a run that does what this one is asked to do."""
        assert self.folder is not None and self.shard is not None
        check_same_settings(self.folder.path, self.folder.config(), self.config)
        log = self.folder.open_shard(self.shard)
        try:
            self._adopt()
        except BaseException:
            log.close()
            raise
        return log

    def _write_record(self) -> None:
        """Say in the folder what the policies are made of."""
        assert self.folder is not None
        if self.shard is None:
            self.folder.write_header(self.header)
        else:
            write_sheet(self.folder.path, self.shard, self.header, {**environment(), "at": self.created})

    def _create(self) -> EpisodeLog:
        """Make the run's folder: the one asked for, or one of a name that nobody has."""
        wanted = Path(self.config.run_dir) if self.config.run_dir else default_run_dir(self.config, self.header["stamp"])
        for number in count(1):
            self.folder = RunFolder(wanted if number == 1 else wanted.with_name(f"{wanted.name}--{number}"))
            try:
                return self.folder.create(self.config, self.header)
            except FolderTakenError:
                if self.config.run_dir:
                    raise
        raise AssertionError("numbers do not end")

    def _run(
        self, log: EpisodeLog, results: list[EpisodeResult], policies: Iterator[Policy], subscribers: Sequence[Subscriber]
    ) -> Outcome:
        assert self.folder is not None
        again = find_incomplete(self.folder.path, results, self.config.video)
        finished = [r for r in results if r.spec not in again.unrecorded and r.spec not in again.undrawn]
        run_id = self.header["run_id"] if self.shard is None else f"{self.header['run_id']}-{self.shard.slug}"
        tracked = TrackedRun(self.folder.path.resolve(), run_id, {"config": self.config.to_json(), **self.header})
        tracking = [Tracking(name, tracker(), tracked) for name, tracker in self.trackers]
        everyone: list[Subscriber] = [Store(log, alone=self.shard is None), *tracking, *subscribers]
        interrupted = False
        try:
            for subscriber in everyone:
                subscriber.run_started(self.part, finished)
                again.tell(subscriber)
            if self.shard is None and not results:
                for subscriber in subscribers:
                    subscriber.noticed(f"results: {self.folder.path}   (as they come: vla-eval report {self.folder.path} --watch)")
            self._run_legs({result.spec for result in finished}, again.undrawn, policies, everyone)
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:
            last_steps: list[Callable[[], object]] = [partial(s.run_ended, False) for s in everyone]
            last_steps.append(lambda: self.stopped(self._summarise()))
            for step in last_steps:
                with suppress(Exception):  # the first error is the one that says what to mend
                    step()
            raise
        for subscriber in everyone:
            subscriber.run_ended(interrupted)
        return self._summarise(interrupted)

    def _run_legs(
        self,
        done: set[EpisodeSpec],
        undrawn: Mapping[EpisodeSpec, EpisodeResult],
        policies: Iterator[Policy],
        subscribers: Sequence[Subscriber],
    ) -> None:
        assert self.folder is not None
        position = {spec: number for number, spec in enumerate(self.plan)}
        for number in self.legs:
            suite = self.suites[number]
            missing = [(position[spec], spec) for spec in self.part if spec.suite == suite.name and spec not in done]
            with _closed(next(policies)) as policy:
                policy.keep_output(self.folder.path)
                if number != self.legs[0]:
                    self._note_policy(number, policy)
                    self._write_record()
                if missing:
                    self._run_leg(number, policy, missing, undrawn, subscribers)

    def _summarise(self, interrupted: bool = False) -> Outcome:
        """Write the tables of what is on the disk: what counts is what can be read back. A shard's are nobody's summary."""
        assert self.folder is not None
        results = self._results()
        table, chains, groups = success_table(results, self.part), self._chains(results), self._groups(results)
        categories, notices = self._categories(results), merged_notices(self.header)
        timings = realtime_table(results, self.part)
        others = {
            "categories": (categories, category_sheet),
            "groups": (groups, group_sheet),
            "chains": (chains, chain_sheet),
            "realtime": (timings, realtime_sheet),
        }
        if self.shard is None:
            run = Run(self.folder.path, self.config, self.header, tuple(self.plan), tuple(results))
            write_summary(self.folder.path, table, notices, others, subjects(run))
        complete = sum(result.error is None for result in results) == len(self.part)
        return Outcome(self.folder.path, table, chains, groups, categories, timings, notices, complete, interrupted, self.shard)

    def _results(self) -> list[EpisodeResult]:
        """What the folder has of the plan, or of the shard's part of it."""
        assert self.folder is not None
        planned = set(self.part)
        return [result for result in self.folder.results() if result.spec in planned]

    def _finished(self) -> list[EpisodeResult]:
        return [result for result in self._results() if result.error is None]

    def _run_leg(
        self,
        number: int,
        policy: Policy,
        episodes: list[tuple[int, EpisodeSpec]],
        undrawn: Mapping[EpisodeSpec, EpisodeResult],
        subscribers: Sequence[Subscriber],
    ) -> None:
        assert self.folder is not None
        suite, leg = self.suites[number], self.config.legs[number]
        record = RecordSettings(
            run_dir=self.folder.path.resolve(),
            stamp=self.header["stamp"],
            policy=leg.policy["name"],
            video=self.config.video,
            cameras=suite.cameras if self.config.video_cameras is None else self.config.video_cameras,
            fps=self.config.video_fps or suite.action_spec.control_hz,
            caption=self.config.video_caption,
        )
        devices = suite.render_devices(self.config.egl_devices)
        elsewhere = self.header["legs"][number]["suite_provenance"] if self.launcher.elsewhere else None
        runner = Runner(
            policy,
            worker_settings(suite, policy, record, devices, self.config.realtime, elsewhere),
            default_worker_count(len(episodes), self.config.workers, self.launcher),
            self.config.worker_timeout_s,
            self.config.attempts,
            subscribers,
            self.config.policy_timeout_s,
            self.pools,
            self.launcher,
        )
        runner.run(episodes, self.make_queue([spec for _, spec in episodes]), undrawn)

    def _policies(self) -> Iterator[Policy]:
        """Policies leg by leg; all are checked and the first is built before a folder is made, so that nothing is refused later."""
        for number in self.legs:
            leg, suite = self.config.legs[number], self.suites[number]
            planned = {spec.task for spec in self.part if spec.suite == suite.name}
            sentences = [s for task in suite.tasks() if task.name in planned for s in _told(suite, task)]
            if self.live is not None:
                continue
            self.launcher.seats(leg.policy)
            check_policy_settings(without_devices(leg.policy), suite, sentences, may_build=number != self.legs[0])
        first = [self._make_policy(number) for number in self.legs[:1]]
        return chain(first, map(self._make_policy, self.legs[1:]))

    def _make_policy(self, number: int) -> Policy:
        settings, suite = self.config.legs[number].policy, self.suites[number]
        if self.live is not None:
            return self.live(suite)
        devices = self.launcher.seats(settings)
        stage(f"loading {settings['name']} for {suite.name}")
        if devices is None:
            return make_policy(settings, suite)
        return RemoteSeats(without_devices(settings), suite, devices, self.launcher)

    def _note_policy(self, number: int, policy: Policy) -> None:
        """Note what the policy is made of, or make sure that a resumed run goes on with the same."""
        leg = self.header["legs"][number]
        record = batch_record(policy, self.suites[number]) if policy.batch_record is None else policy.batch_record
        code = code_record(own_code(self.config.legs[number].policy))
        self._note_provenance(number, masked({**code, **policy.provenance(), **record}))
        if policy.batch is not None and not record["batch_invariant"]:
            notice = f"{leg['suite']}: {leg['policy']['name']} is not batch-invariant on this machine: {record['batch_audit']}."
            leg["notices"] = list(dict.fromkeys([*leg["notices"], notice]))

    def _note_provenance(self, number: int, provenance: dict[str, Any]) -> None:
        leg = self.header["legs"][number]
        if self.folder is not None:
            check_same_policy(self.folder.path, leg, provenance)
        leg["policy_provenance"] = provenance

    def _categories(self, results: Sequence[EpisodeResult]) -> pd.DataFrame:
        totals, coverages = weighted_totals_of(self.header), coverages_of(self.header)
        return category_table(results, self.plan, variants_of(self.header), totals, coverages=coverages)

    def _groups(self, results: Sequence[EpisodeResult]) -> pd.DataFrame:
        groups = {(suite.name, task.name): task.group for suite in self.suites for task in suite.tasks()}
        return group_table(results, self.plan, groups)

    def _chains(self, results: Sequence[EpisodeResult]) -> pd.DataFrame:
        return chain_table(results, {suite.name: max(t.chain for t in suite.tasks()) for suite in self.suites})


def _told(suite: Suite, task: Task) -> Sequence[str]:
    """The sentences that a policy will be given; of a chain, what its task is called."""
    return (task.instruction,) if task.chain > 1 else all_said(task.instruction, suite.variation, task.name)


def execution_settings_in(overrides: Sequence[str]) -> tuple[str, ...]:
    """The execution settings that overrides of a resumed run name.

    Raises:
        ConfigError: One of them would change what is measured.
    """
    names = []
    for override in overrides:
        key = override.partition("=")[0]
        key = OTHER_NAMES.get(key, key)
        name = key if key == POLICY_DEVICES else key.partition(".")[0]
        if name not in (*EXECUTION_SETTINGS, POLICY_DEVICES):
            known = ", ".join((*EXECUTION_SETTINGS, POLICY_DEVICES))
            raise ConfigError(f"{override!r} cannot be given with resume=: a run keeps its settings. Only {known} may.")
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
def _closed(policy: Policy) -> Iterator[Policy]:
    """A policy that is closed afterwards; an error on the way is the one that is raised."""
    try:
        yield policy
    except BaseException:
        with suppress(Exception):  # the first error is the one that says what to mend
            policy.close()
        raise
    policy.close()


@contextmanager
def _no_exit() -> Iterator[None]:
    """Whatever calls ``sys.exit`` in the main process has failed: nothing has come of what it was asked for."""
    try:
        yield
    except SystemExit as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}, line {frames[-1].lineno}"
        raise RunError(f"sys.exit({error.code!r}) was called in {where}; a suite or policy raises an error instead.") from error
