"""Where the command meets the machine: signals end it in order, and what the system refuses becomes one sentence."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_A_MOMENT_S = 0.01
_ONE_KEYSTROKE_S = 0.3  # wrappers pass on the signal that the terminal has sent to the whole group anyhow

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space and run the command again."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Choose a place that this user may read and write."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit (ulimit -n) or ask for fewer workers."),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "Ask for fewer workers."),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), "Name a place that there is."),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV), "The disk or its connection has failed."),
    errno.EPIPE: "Whoever read the output is gone.",
}


class _Interrupt(KeyboardInterrupt):
    """What is caught in the end; its argument is the signal.

    Of KeyboardInterrupt itself CPython remembers that it went through code made from text, as that of dataclasses and enums is, and
    ends the process by SIGINT whatever became of it.
    """


@contextmanager
def interrupts(last: bool) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM (schedulers) and SIGHUP (a closed terminal) end what is under way in order; a second one ends it at once.

    Args:
        last: Whether the process ends afterwards, so that nothing is left to be interrupted in order.
    """
    first: float | None = None

    def interrupt(signum: int, frame: object) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = now
            raise _Interrupt(signum)
        if now - first > _ONE_KEYSTROKE_S:
            os.write(2, b"vla-eval: stopped at once; what is finished is kept\n")
            os._exit(130)

    def unheard(unraisable: sys.UnraisableHookArgs) -> None:
        nonlocal first
        if not isinstance(unraisable.exc_value, _Interrupt):
            hook(unraisable)
            return
        first = None
        # To the thread itself, so that what it waits for ends.
        again = threading.Timer(_A_MOMENT_S, signal.pthread_kill, (threading.get_ident(), *unraisable.exc_value.args))
        again.daemon = True
        again.start()

    # In a finalizer or the callback of a weak reference, as imports have them, Python drops what is raised: it is raised again.
    hook, sys.unraisablehook = sys.unraisablehook, unheard
    # A signal that is ignored (nohup, background jobs) stays ignored.
    previous = {s: signal.signal(s, interrupt) for s in _SIGNALS if signal.getsignal(s) != signal.SIG_IGN}
    if last:
        atexit.register(_ignore, tuple(previous))
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, (lambda *_: os._exit(130)) if last else handler)


def _ignore(signals: Sequence[signal.Signals]) -> None:
    """Of what was said and what the process ends with, nothing changes any more.

    When Python takes itself apart it gives signals that are handled back to the system, which would end it by them.
    """
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def sentence(error: OSError) -> str | None:
    """What the system refused, and what to do; None if that is not the user's to mend."""
    if error.errno not in _REMEDIES:
        return None
    try:
        sys.stdout.flush()
    except OSError:  # what could not be written: Python would fail once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    name = f"{error.filename}: " if error.filename is not None else ""
    return f"{name}{error.strerror}. {_REMEDIES[error.errno]}"
