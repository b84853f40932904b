"""Whole messages between the main process and a worker, through a pair of connected sockets.

The main process's end never blocks: what a worker has sent of a message is kept until the rest is there, and what the socket does
not take yet is sent as it empties. A worker that is stopped in the middle of a message thus holds up nobody, however long the
message is; whether it is late is for the clock to say.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import Any

_HEADER = struct.Struct("!Q")  # length of the pickle that follows, in bytes


class Channel:
    """One end of the pair.

    Args:
        end: A connected socket; a blocking one makes `send` and `receive` wait.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._outgoing: deque[memoryview] = deque()
        self._buffer, self._is_header = bytearray(_HEADER.size), True
        self._missing = memoryview(self._buffer)

    def set_blocking(self, blocks: bool) -> None:
        """Whether `send` and `receive` wait."""
        self._socket.setblocking(blocks)

    def fileno(self) -> int:
        """The socket's descriptor, for `selectors`."""
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether `flush` is to be called once the socket takes more."""
        return bool(self._outgoing)

    def send(self, message: Any) -> None:
        """Send a message, as far as the socket takes it now.

        Raises:
            OSError: The other end is gone.
        """
        payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._outgoing += (memoryview(_HEADER.pack(len(payload))), memoryview(payload))
        self.flush()

    def flush(self) -> None:
        """Send more of what `send` could not.

        Raises:
            OSError: The other end is gone.
        """
        while self._outgoing:
            try:
                sent = self._socket.sendmsg(self._outgoing)
            except BlockingIOError:
                return
            while self._outgoing and sent >= len(self._outgoing[0]):
                sent -= len(self._outgoing.popleft())
            if sent:
                self._outgoing[0] = self._outgoing[0][sent:]

    def receive(self) -> Any | None:
        """The next message, or None if it is not whole yet (a blocking socket waits until it is).

        Raises:
            EOFError: The other end is closed, or its process ended.
            OSError: The same, noticed by the system.
        """
        while True:
            try:
                count = self._socket.recv_into(self._missing)
            except BlockingIOError:
                return None
            if not count:
                raise EOFError("the other end was closed")
            self._missing = self._missing[count:]
            if self._missing:
                continue
            received, self._is_header = self._buffer, not self._is_header
            size: int = _HEADER.size if self._is_header else _HEADER.unpack(received)[0]
            self._buffer = bytearray(size)
            self._missing = memoryview(self._buffer)
            if self._is_header:
                return pickle.loads(received)

    def wait(self) -> None:
        """Wait until there is something to receive, or the other end is closed; for a blocking socket."""
        self._socket.recv(1, socket.MSG_PEEK)

    def close(self) -> None:
        """Close this end; the other one reads the end of the stream, and so does a thread that is waiting at this one."""
        with suppress(OSError):  # the other end is gone already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
