"""`vla-eval serve` as a user starts it: it listens, answers, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("websockets", reason="servers need the extra remote")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from vlagym.eval import cli
from vlagym.policies.remote import openpi

COMMAND = [sys.executable, "-c", "import sys; from vlagym.eval.cli import main; sys.exit(main())"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_policy_is_served_until_the_signal(number: signal.Signals) -> None:
    settings = ["policy=random", "policy.cameras=[primary]", "policy.chunk=5", "suite=robosuite", "port=0"]
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *COMMAND, "serve", *settings],
        env={**os.environ, "VLAGYM_SERVE_KEY": "k"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving random for robosuite over openpi at ws://127.0.0.1:")
        address = line.partition(" at ")[2].partition(";")[0].strip()
        with pytest.raises(InvalidStatus, match="401"), connect(address, compression=None):
            pass
        with connect(address, compression=None, additional_headers={"Authorization": "Api-Key k"}) as connection:
            metadata = openpi.decode(connection.recv(timeout=60))
            assert metadata["images"] == {"observation/image": [256, 256, 3]}
            image = np.zeros((256, 256, 3), np.uint8)
            connection.send(openpi.encode({"observation/image": image, "observation/state": np.zeros(8), "prompt": "go"}))
            reply = connection.recv(timeout=60)
            assert isinstance(reply, bytes)
            assert openpi.decode(reply)["actions"].shape == (5, len(metadata["action"]["names"]))
            process.send_signal(number)
            assert process.wait(60) == 0
        assert process.stdout.read() == "the server has ended\n"
    finally:
        process.kill()
        process.wait()


def test_what_cannot_be_served_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "policy=scripted", "suite=robosuite", "port=0"]) == 2
    assert "only a simulator knows" in capsys.readouterr().err
    assert cli.main(["serve", "policy=random", "suite=robosuite", "protocol=grpc"]) == 2
    assert "protocol must be one of openpi, vla_eval" in capsys.readouterr().err
