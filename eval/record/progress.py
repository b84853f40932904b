"""Progress of a run from its first second: a live table of tasks on a terminal, plain lines in a log.

Before there are episodes to show, stages are (`vlagym._stages`): what is loaded, checked, started. A log hears of the run at least
every 30 seconds, so that a job that is slow can be told from one that hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from io import StringIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..._stages import heard_by
from ...episode import EpisodeResult, EpisodeSpec
from .events import Subscriber
from .tally import Tally, Task, duration

_MOST_ROWS, _OTHER_ROWS = 30, 8
_SHOWN_AT_ONCE = 3  # episodes of one task, by their steps
_SILENCE_S = 30.0  # in a log


class Progress(Subscriber):
    """Shows a run; as a context, its stages before the first episode too."""

    def __init__(self) -> None:
        self._tally: Tally | None = None
        self._running: dict[EpisodeSpec, int] = {}
        self._stage, self._since = "", time.monotonic()
        self._heard = ExitStack()

    def __enter__(self) -> Progress:
        self._heard.enter_context(heard_by(self.stage))
        self._begin()
        return self

    def __exit__(self, *exception: object) -> None:
        self._heard.close()
        self._end()

    def stage(self, what: str) -> None:
        """Something begins that takes its time."""
        self._stage, self._since = what, time.monotonic()

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._tally = Tally(plan, finished)
        self._begin()

    def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
        self._stage = ""
        self._running[spec] = 0

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        self._running[spec] = steps

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        self._running.pop(spec, None)

    def episode_ended(self, result: EpisodeResult) -> None:
        assert self._tally is not None
        self._running.pop(result.spec, None)
        self._tally.add(result)

    def run_ended(self, interrupted: bool) -> None:
        self._end()

    def _begin(self) -> None:
        """Show from now on; called more than once."""

    def _end(self) -> None:
        """Show no more; called more than once."""

    def _under_way(self) -> str:
        """The stage with its time, or what the run is doing."""
        if self._stage or self._tally is None:
            return f"{self._stage} ... {duration(time.monotonic() - self._since)}"
        running = list(self._running.values())  # a copy: a display may have a thread of its own
        counts = f"{self._tally.done.total()}/{self._tally.total} episodes, {self._tally.success()}, {self._tally.errors} errors"
        steps = f"; {len(running)} under way, at step {', '.join(map(str, running[:_SHOWN_AT_ONCE]))}" if running else ""
        return f"{counts}{steps}{', ...' if len(running) > _SHOWN_AT_ONCE else ''}; {self._tally.pace()}"


class LiveProgress(Progress):
    """A table that is redrawn in place: per task successes so far and the steps of what is under way; pace, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._waiting: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        super().chunk_done(spec, steps)
        self._waiting.clear()

    def noticed(self, sentence: str) -> None:
        self._live.console.print(sentence, highlight=False, markup=False, soft_wrap=True)  # paths can be copied

    def waiting(self, name: str, seconds: float) -> None:
        self._waiting[name] = seconds

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        super().episode_retried(spec, reason)
        self._live.console.print(f"[yellow]{spec.id} is run again:[/] {_first_line(reason)}", highlight=False)

    def episode_ended(self, result: EpisodeResult) -> None:
        super().episode_ended(result)
        for problem in _problems(result):
            self._live.console.print(f"[red]{result.spec.id}:[/] {problem}", highlight=False)

    def _begin(self) -> None:
        self._live.start()

    def _end(self) -> None:
        self._stage = ""
        self._live.stop()

    def _render(self) -> Group:
        tally, now = self._tally, Text(self._under_way() if self._stage or self._tally else "")
        if tally is None:
            return Group(now) if self._stage else Group()
        table = Table(box=None, pad_edge=False)
        for column, justify in (("task", "left"), ("", "left"), ("done", "right"), ("success", "right"), ("under way", "left")):
            table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        running: dict[Task, list[str]] = {}
        for spec, steps in list(self._running.items()):  # a copy: the display is drawn by a thread of its own
            running.setdefault((spec.suite, spec.task), []).append(f"{spec.trial}: step {steps}")
        unfinished_first = sorted(tally.planned, key=lambda t: (tally.done[t] == tally.planned[t], t not in running))
        shown = set(unfinished_first[: max(1, min(_MOST_ROWS, self._live.console.height - _OTHER_ROWS))])
        for task in (t for t in tally.planned if t in shown):
            done, planned = tally.done[task], tally.planned[task]
            share = f"{tally.successes[task]}/{done}" if done else ""
            name = Text(f"{task[0]}/{task[1]}", overflow="ellipsis", no_wrap=True, style="bold" if task in running else "")
            steps_now = running.get(task, [])
            more = ", ..." if len(steps_now) > _SHOWN_AT_ONCE else ""
            trials = Text("trial " + ", ".join(steps_now[:_SHOWN_AT_ONCE]) + more if steps_now else "")
            table.add_row(name, ProgressBar(planned, done, width=12), f"{done}/{planned}", share, trials)
        hidden = len(tally.planned) - len(shown)
        waits = [Text(_waiting(name, seconds), "yellow") for name, seconds in list(self._waiting.items())]
        return Group(table, Text(f"... and {hidden} more tasks") if hidden else Text(), now, *waits)


class PlainProgress(Progress):
    """One line per stage and per finished episode, and one every 30 seconds, for logs and CI."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._ended = threading.Event()
        self._clock: threading.Thread | None = None
        self._unheard = ExitStack()

    def stage(self, what: str) -> None:
        super().stage(what)
        self._print(f"{what} ...")

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        super().run_started(plan, finished)
        if finished:
            self._print(f"{len(finished)} of {len(plan)} episodes were finished before")

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        super().episode_retried(spec, reason)
        self._print(f"{spec.id} is run again: {_first_line(reason)}")

    def episode_ended(self, result: EpisodeResult) -> None:
        super().episode_ended(result)
        assert self._tally is not None
        task = (result.spec.suite, result.spec.task)
        outcome = "error" if result.error else f"{'success' if result.success else 'no success'} in {result.steps} steps"
        so_far = f"{self._tally.successes[task]}/{self._tally.done[task]} of the task"
        self._print(
            f"[{self._tally.done.total()}/{self._tally.total}] {result.spec.suite}/{result.spec.task} trial {result.spec.trial}: "
            f"{outcome} ({so_far}; {self._tally.pace()})"
        )
        for problem in _problems(result):
            self._print(f"    {problem}")

    def noticed(self, sentence: str) -> None:
        self._print(sentence)

    def waiting(self, name: str, seconds: float) -> None:
        self._print(_waiting(name, seconds))

    def tell(self) -> None:
        """Print what is under way now."""
        self._print(self._under_way())

    def _begin(self) -> None:
        if self._clock is None and not self._ended.is_set():
            self._clock = threading.Thread(target=self._tell_again, name="progress", daemon=True)
            self._clock.start()

    def _end(self) -> None:
        self._ended.set()
        self._unheard.close()

    def _tell_again(self) -> None:
        while not self._ended.wait(_SILENCE_S):
            self.tell()

    def _print(self, line: str) -> None:
        try:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        except OSError:  # whoever read is gone, or the disk behind the output is full: no reason to stop a run of hours
            self._console = Console(file=StringIO(), quiet=True)
            # What could not be written stays in the stream, and multiprocessing flushes that before it starts a worker.
            self._unheard.enter_context(redirect_stdout(StringIO()))


def progress_for(console: Console) -> Progress:
    """The display that suits the console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


def _waiting(name: str, seconds: float) -> str:
    return f"waiting for {name} for {duration(seconds)}"


def _problems(result: EpisodeResult) -> list[str]:
    found = [result.error, result.execution.get("video_error")]
    return [_first_line(problem) for problem in found if problem]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.startswith("Traceback") else text.strip().splitlines()[0]
