"""Work on recorded episodes in a pool of processes, ended in order whatever ends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ..._parent import PROCESSES, deaf_to_interrupts
from ...errors import RunError

Job = TypeVar("Job")
Done = TypeVar("Done")


def in_pool(
    size: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    function: Callable[[Job], Done],
    jobs: Iterable[Job],
    doing: str,
) -> Iterator[Done]:
    """What becomes of each job, in their order, each as soon as it and those before are done.

    Args:
        size: Processes.
        start: Called in each of them first, with the arguments.
        arguments: For `start`.
        function: What to do with a job.
        jobs: The work.
        doing: What a process does, for people.

    Raises:
        RunError: A process died.
    """
    with ProcessPoolExecutor(size, PROCESSES, start, arguments) as pool:
        try:
            with deaf_to_interrupts():  # Ctrl-C is the main process's to handle
                waiting: deque[Future[Done]] = deque(pool.submit(function, job) for job in jobs)
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise RunError(f"a process that {doing} died; `vla-eval doctor` says what this machine lacks.") from error
        finally:
            # By the pool's own thread. Cancelled here (as `pool.map` does), what is waiting would be in that thread's way if the
            # processes die at the same moment, as they do of a signal to the whole group (Python before 3.12 prints a traceback).
            pool.shutdown(cancel_futures=True)
