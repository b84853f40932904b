"""Progress of a run on the terminal: a live table of tasks where there is one, plain lines where there is none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from io import StringIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...episode import EpisodeResult, EpisodeSpec
from .events import Subscriber

_MOST_ROWS = 30


class _Tally:
    """Counts what a progress display shows."""

    def __init__(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self.planned = Counter((spec.suite, spec.task) for spec in plan)
        self.done: Counter[tuple[str, str]] = Counter()
        self.successes: Counter[tuple[str, str]] = Counter()
        self.errors = 0
        self.resumed = len(finished)
        self.started = time.monotonic()
        for result in finished:
            self.add(result)

    def add(self, result: EpisodeResult) -> None:
        """Count a result."""
        task = (result.spec.suite, result.spec.task)
        self.done[task] += 1
        self.successes[task] += bool(result.success)
        self.errors += result.error is not None

    @property
    def total(self) -> int:
        """Episodes in the plan."""
        return self.planned.total()

    def pace(self) -> str:
        """Episodes per hour of this session and the time left at that pace."""
        ran = self.done.total() - self.resumed
        if ran < 1:
            return "..."
        per_second = ran / (time.monotonic() - self.started)
        return f"{3600 * per_second:.0f} episodes/h, {_duration((self.total - self.done.total()) / per_second)} left"


class LiveProgress(Subscriber):
    """A table that is redrawn in place: per task successes so far, pace, time left."""

    def __init__(self, console: Console) -> None:
        self._tally: _Tally | None = None
        self._running: dict[EpisodeSpec, int] = {}
        self._waiting: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._tally = _Tally(plan, finished)
        self._live.start()

    def episode_started(self, spec: EpisodeSpec, worker: int) -> None:
        self._running[spec] = 0

    def chunk_done(self, spec: EpisodeSpec, steps: int) -> None:
        self._running[spec] = steps
        self._waiting.clear()

    def noticed(self, sentence: str) -> None:
        self._live.console.print(sentence, highlight=False, markup=False)

    def waiting(self, name: str, seconds: float) -> None:
        self._waiting[name] = seconds

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        self._running.pop(spec, None)
        self._live.console.print(f"[yellow]{spec.id} is run again:[/] {_first_line(reason)}", highlight=False)

    def episode_ended(self, result: EpisodeResult) -> None:
        assert self._tally is not None
        self._running.pop(result.spec, None)
        self._tally.add(result)
        for problem in _problems(result):
            self._live.console.print(f"[red]{result.spec.id}:[/] {problem}", highlight=False)

    def run_ended(self, interrupted: bool) -> None:
        self._live.stop()

    def _render(self) -> Group:
        tally = self._tally
        if tally is None:
            return Group()
        table = Table(box=None, pad_edge=False)
        for column, justify in (("task", "left"), ("", "left"), ("done", "right"), ("success", "right")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        # A copy: the display is drawn by a thread of its own.
        active = {(spec.suite, spec.task) for spec in list(self._running)}
        unfinished_first = sorted(tally.planned, key=lambda t: (tally.done[t] == tally.planned[t], t not in active))
        shown = set(unfinished_first[:_MOST_ROWS])
        for task in (t for t in tally.planned if t in shown):
            done, planned = tally.done[task], tally.planned[task]
            share = f"{tally.successes[task]}/{done}" if done else ""
            name = Text(f"{task[0]}/{task[1]}", overflow="ellipsis", no_wrap=True, style="bold" if task in active else "")
            table.add_row(name, ProgressBar(planned, done, width=20), f"{done}/{planned}", share)
        hidden = len(tally.planned) - len(shown)
        counts = f"{tally.done.total()}/{tally.total} episodes, {tally.successes.total()} successes, {tally.errors} errors"
        waits = [Text(_waiting(name, seconds), "yellow") for name, seconds in list(self._waiting.items())]
        return Group(table, Text(f"... and {hidden} more tasks") if hidden else Text(), Text(f"{counts}; {tally.pace()}"), *waits)


class PlainProgress(Subscriber):
    """One line per finished episode, for logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally: _Tally | None = None

    def run_started(self, plan: Sequence[EpisodeSpec], finished: Sequence[EpisodeResult]) -> None:
        self._tally = _Tally(plan, finished)
        if finished:
            self._print(f"{len(finished)} of {len(plan)} episodes were finished before")

    def episode_retried(self, spec: EpisodeSpec, reason: str) -> None:
        self._print(f"{spec.id} is run again: {_first_line(reason)}")

    def episode_ended(self, result: EpisodeResult) -> None:
        assert self._tally is not None
        self._tally.add(result)
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

    def _print(self, line: str) -> None:
        try:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        except OSError:  # whoever read is gone, or the disk behind the output is full: no reason to stop a run of hours
            self._console = Console(file=StringIO(), quiet=True)


def progress_for(console: Console) -> Subscriber:
    """The display that suits the console."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


def _waiting(name: str, seconds: float) -> str:
    return f"waiting for {name} for {_duration(seconds)}"


def _problems(result: EpisodeResult) -> list[str]:
    found = [result.error, result.execution.get("video_error")]
    return [_first_line(problem) for problem in found if problem]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.startswith("Traceback") else text.strip().splitlines()[0]


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
