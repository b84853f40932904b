"""Messages between processes: whole or not there yet, and nobody waits for the other half."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vlagym._parent import EndWithParent, call
from vlagym.eval.run.channel import Channel


@pytest.fixture
def ends() -> tuple[Channel, Channel, socket.socket]:
    """The main process's end, the worker's, and the socket of the latter."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Channel(ours), Channel(theirs), theirs


def test_what_is_half_sent_is_not_a_message_yet(ends: tuple[Channel, Channel, socket.socket]) -> None:
    ours, theirs, raw = ends
    copy = bytearray()
    theirs.send({"x": [1, 2]})
    assert ours.receive() == {"x": [1, 2]}
    ours.send("abc")
    copy += raw.recv(100)
    for byte in copy[:-1]:
        raw.send(bytes([byte]))
        assert ours.receive() is None
    raw.send(copy[-1:])
    assert ours.receive() == "abc"
    assert ours.receive() is None


def test_a_long_message_to_one_who_does_not_read_blocks_nobody(ends: tuple[Channel, Channel, socket.socket]) -> None:
    ours, theirs, _ = ends
    actions = np.arange(4_000_000.0).reshape(-1, 8)
    ours.send(actions)  # 32 MB; the socket takes a few hundred kB
    assert ours.unsent
    received: list[np.ndarray] = []
    reader = threading.Thread(target=lambda: received.append(theirs.receive()))
    reader.start()
    while ours.unsent:
        ours.flush()
        time.sleep(0)
    reader.join(60)
    np.testing.assert_array_equal(received[0], actions)


def test_the_end_of_the_other_side_is_an_error_and_not_a_message(ends: tuple[Channel, Channel, socket.socket]) -> None:
    ours, theirs, raw = ends
    raw.send(b"\0\0\0")
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()


def test_a_stopped_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A parent is killed while its child is stopped: only the kernel can end it."""
    context = multiprocessing.get_context("spawn")
    parent = context.Process(target=_parent, args=(tmp_path / "child",))
    parent.start()
    child = int(_when_written(tmp_path / "child"))
    os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.02)


def _parent(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    context.Process(target=call, args=(EndWithParent(), _child, file)).start()
    time.sleep(3600)


def _child(file: Path) -> None:
    part = file.with_suffix(".part")
    part.write_text(str(os.getpid()))
    part.replace(file)
    time.sleep(3600)


def _when_written(file: Path) -> str:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return file.read_text()


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
