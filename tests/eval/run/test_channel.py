"""Messages between processes: whole or not there yet, and nobody waits for the other half."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

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
