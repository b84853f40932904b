"""The documentation's policy server of one's own runs where there is nothing but NumPy, websockets and msgpack."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vlagym

pytest.importorskip("websockets", reason="servers need the extra remote")

from websockets.sync.client import connect

from vlagym.policies.remote import openpi

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of packages: ours and the three."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "vlagym").symlink_to(Path(vlagym.__file__).parent)
    for package in ("numpy", "websockets", "msgpack"):
        files = importlib.metadata.files(package) or []
        for top in {file.parts[0] for file in files if not file.parts[0].startswith("..")}:
            (folder / top).symlink_to(Path(str(importlib.metadata.distribution(package).locate_file(top))))
    return folder


def test_the_example_serves_where_only_numpy_and_the_wire_libraries_are(outside: Path, tmp_path: Path) -> None:
    code = next(
        code for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M) if "serve" in code
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = tmp_path / "my_server.py"
    begin = f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p] + [{str(outside)!r}]\n"
    script.write_text(begin + code.replace("port=8000", f"port={port}"))
    process = subprocess.Popen([sys.executable, "-S", str(script)], env={"PATH": os.environ["PATH"]})
    try:
        with _connected(port) as connection:
            assert openpi.decode(connection.recv(timeout=30)) == {}
            image = np.zeros((224, 224, 3), np.uint8)
            connection.send(openpi.encode({"observation/image": image, "observation/state": np.zeros(8), "prompt": "go"}))
            reply = connection.recv(timeout=30)
            assert isinstance(reply, bytes)
            actions = openpi.decode(reply)["actions"]
            assert actions.ndim == 2
            assert np.isfinite(actions).all()
            assert actions.shape[1] == 7
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def _connected(port: int) -> connect:  # type: ignore[valid-type]
    deadline = time.monotonic() + 60
    while True:
        try:
            return connect(f"ws://127.0.0.1:{port}", compression=None)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
