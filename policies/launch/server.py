"""Starting a server, waiting until it listens, starting it again when it dies, and ending it."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from ...errors import ConfigError, PolicyError
from . import keeper
from .environment import LaunchEnvironment

Waiting = Callable[[str, float], None]

_END_TIMEOUT_S = 20.0
_FIRST_NOTICE_S = 5.0
_LAST_LINES = 12
_MOST_RESTARTS = 5
_RESTART_WAIT_S = 1.0


def check_command(command: str | Sequence[str]) -> list[str]:
    """The words of a command.

    Raises:
        ConfigError: It has no ``{port}``, or an open quotation.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ConfigError(f"policy.launch={command!r} cannot be read: {error}.") from error
    if not any("{port}" in word for word in words):
        raise ConfigError(f"policy.launch must say where the server's port goes: {{port}} is missing in {' '.join(words)!r}.")
    return words


def _say(name: str, seconds: float) -> None:
    print(f"waiting for {name} for {seconds:.0f} s", file=sys.stderr, flush=True)


class LaunchedServer:
    """A server that a command starts. Use it in a ``with`` statement, or call `close`.

    Args:
        command: Words of it; ``{port}`` is filled in. A first word ``python`` is the environment's.
        environment: What it runs in.
        start_timeout_s: Longest time until it listens: downloading and loading weights included.

    Attributes:
        port: On which it listens, on this machine.

    Raises:
        ConfigError: See `check_command`.
    """

    def __init__(self, command: str | Sequence[str], environment: LaunchEnvironment, start_timeout_s: float) -> None:
        self._words = check_command(command)
        self._environment = environment
        self._log: Path | None = None
        self._kept: Path | None = None
        self._ready = False
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._nurse = threading.Thread(target=self._look_after, name="server", daemon=True)
        self.port = _free_port()

    def __enter__(self) -> LaunchedServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self, waiting: Waiting = _say) -> None:
        """Start it and wait until it listens; from then on it is started again if it dies, on the same port.

        Args:
            waiting: Told what is waited for and how long already, now and then.

        Raises:
            PolicyError: It ended, or does not listen in time; the message shows the last lines of its output.
        """
        descriptor, name = tempfile.mkstemp(prefix="vlagym-server-", suffix=".log")
        os.close(descriptor)
        self._log = Path(name)
        self._process = self._begin()
        try:
            self._wait(self._process, waiting)
        except BaseException:
            self.close()
            raise
        self._ready = True
        self._nurse.start()

    def keep_output(self, folder: Path) -> None:
        """Keep its output in a folder, as server.log (or server-2.log, ...); so far it is where temporary files are."""
        assert self._log is not None
        kept = _free_name(folder)
        try:
            self._log = self._log.replace(kept)  # what has it open goes on writing to it
        except OSError:  # another file system: it is copied at the end
            self._kept = kept

    def close(self) -> None:
        """End it and all that it started."""
        self._closing.set()
        if self._nurse.is_alive():
            self._nurse.join()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # the keeper's sign
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert self._log is not None
        if self._kept is not None:
            shutil.copyfile(self._log, self._kept)
        if self._ready and self._log.parent == Path(tempfile.gettempdir()):
            self._log.unlink()  # nobody is told of it; that of a server that did not start is named in the error

    def _begin(self) -> subprocess.Popen[bytes]:
        words = [word.replace("{port}", str(self.port)) for word in self._words]
        if words[0] == "python":
            words[0] = self._environment.python
        assert self._log is not None
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment.variables(),
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def _look_after(self) -> None:
        """Start the server again when it has died, a few times: its clients wait for it."""
        for _ in range(_MOST_RESTARTS):
            while not self._closing.wait(0.2):
                assert self._process is not None
                if self._process.poll() is not None:
                    break
            if self._closing.wait(_RESTART_WAIT_S):
                return
            code = self._process and self._process.returncode
            assert self._log is not None
            with self._log.open("a", encoding="utf-8") as output:
                output.write(f"--- the server ended with exit code {code}; it is started again\n")
            self._process = self._begin()

    def _wait(self, process: subprocess.Popen[bytes], waiting: Waiting) -> None:
        began, notice = time.monotonic(), _FIRST_NOTICE_S
        while not _listens(self.port):
            waited = time.monotonic() - began
            if (code := process.poll()) is not None:
                raise PolicyError(f"the policy's server ended with exit code {code} before it listened on its port. {self._tail()}")
            if waited > self._start_timeout_s:
                limit = f"{self._start_timeout_s:g} s (policy.start_timeout_s)"
                raise PolicyError(f"the policy's server does not listen on port {self.port} after {limit}. {self._tail()}")
            if waited >= notice:
                waiting("the policy's server to start", waited)
                notice *= 2
            time.sleep(0.1)

    def _tail(self) -> str:
        """The last lines of its output, for a message."""
        assert self._log is not None
        with self._log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        return f"Its output ({self._log}) ends:\n" + "\n".join(lines) if lines else f"It wrote nothing ({self._log})."


def _free_name(folder: Path) -> Path:
    """An empty file for a server's output, of a name that nobody else has taken, on whatever machine."""
    for number in count(1):
        kept = folder / ("server.log" if number == 1 else f"server-{number}.log")
        try:
            kept.touch(exist_ok=False)
        except FileExistsError:
            continue
        return kept
    raise AssertionError("numbers do not end")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
