"""Processes that the main process starts: Ctrl-C, which a terminal sends to all of them, is the main process's to handle."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection

import pytest

from vlagym._parent import EndWithParent, call, deaf_to_interrupts


def _echo(end: Connection) -> None:
    end.send(end.recv())


def test_a_process_does_not_hear_ctrl_c_while_python_starts_in_it() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=call, args=(EndWithParent(), _echo, theirs))
    with deaf_to_interrupts():
        process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    ours.send("still here")
    assert ours.recv() == "still here"
    process.join()
    assert process.exitcode == 0


def test_the_main_process_hears_it_afterwards() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test session in several processes ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            _interrupted_meanwhile()
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted_meanwhile() -> None:
    with deaf_to_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.SIGINT in signal.sigpending()
    raise AssertionError("the interrupt comes before this")
