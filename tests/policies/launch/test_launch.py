"""A launched server runs where it was told to, is known by its port, and leaves nothing behind, whatever becomes of us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from vlagym.errors import ConfigError, DependencyError, PolicyError
from vlagym.eval.plan.config import load_config
from vlagym.policies.launch import Launch, LaunchedServer, launch_of
from vlagym.policies.launch.environment import LaunchEnvironment

HERE = LaunchEnvironment(None)
# Says where it runs, has a child of its own, and answers on its port.
SERVER = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pids", os.getpid(), child.pid, sys.prefix, os.environ.get("PYTHONPATH"), flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
COMMAND = ["python", "-c", SERVER, "{port}"]


@contextmanager
def launched(folder: Path, environment: LaunchEnvironment = HERE) -> Iterator[LaunchedServer]:
    with LaunchedServer(COMMAND, environment, 60) as server:
        server.start()
        server.keep_output(folder)
        yield server


def said(folder: Path) -> list[list[str]]:
    """What the server printed of itself at each start."""
    lines = (folder / "server.log").read_text().splitlines()
    return [line.split()[1:] for line in lines if line.startswith("pids")]


def runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_server_answers_when_it_has_started_and_is_gone_with_its_children_afterwards(tmp_path: Path) -> None:
    with launched(tmp_path) as server:
        assert answers(server.port)
        ((own, child, _, _),) = said(tmp_path)
        assert runs(own)
        assert runs(child)
    assert not runs(own)
    wait_until(lambda: not runs(child), 60)


def test_a_server_is_ended_even_when_we_are_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from vlagym.policies.launch import LaunchedServer\n"
        "from vlagym.policies.launch.environment import LaunchEnvironment\n"
        "server = LaunchedServer(sys.argv[2:], LaunchEnvironment(None), 60)\n"
        "server.start(); server.keep_output(Path(sys.argv[1]))\n"
        "print('started', flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", script, str(tmp_path), *COMMAND]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.kill()
    process.wait()
    ((own, child, _, _),) = said(tmp_path)
    wait_until(lambda: not runs(own) and not runs(child), 60)


def test_a_server_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    with launched(tmp_path) as server:
        os.kill(int(said(tmp_path)[0][0]), signal.SIGKILL)
        wait_until(lambda: len(said(tmp_path)) == 2, 60)
        wait_until(lambda: answers(server.port), 60)
        assert "ended with exit code 137; it is started again" in (tmp_path / "server.log").read_text()
        assert not runs(said(tmp_path)[0][1])


def test_a_server_that_does_not_start_is_shown_with_its_last_words() -> None:
    broken = ["python", "-c", "raise RuntimeError('no weights for {port}')"]
    with pytest.raises(PolicyError, match="(?s)exit code 1 before it listened.*RuntimeError: no weights"):
        LaunchedServer(broken, HERE, 60).start()
    with pytest.raises(PolicyError, match="exit code 127"):
        LaunchedServer(["no-such-program", "{port}"], HERE, 60).start()
    heard: list[str] = []
    idle = LaunchedServer(["python", "-c", "import time; time.sleep(600) # {port}"], HERE, 0.5)
    with pytest.raises(PolicyError, match=r"does not listen on port \d+ after 0.5 s \(policy.start_timeout_s\). It wrote nothing"):
        idle.start(lambda name, seconds: heard.append(name))


def test_an_environment_of_its_own_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    monkeypatch.setenv("PYTHONPATH", "/somewhere/of/ours")
    with launched(tmp_path, LaunchEnvironment.find(str(tmp_path / "env"))):
        ((_, _, prefix, path),) = said(tmp_path)
    assert Path(prefix) == tmp_path / "env"
    assert path == "None"


def test_what_cannot_be_launched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not a virtual environment"):
        LaunchEnvironment.find(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="needs the program uv"):
        LaunchEnvironment.find("uv:lerobot==0.4.4")
    with pytest.raises(ConfigError, match="{port} is missing"):
        Launch({"name": "openpi", "url": None, "launch": "python serve.py"})
    with pytest.raises(ConfigError, match="cannot be read"):
        Launch({"name": "openpi", "url": None, "launch": "python 'serve.py {port}"})
    with pytest.raises(ConfigError, match="runs in this process"):
        launch_of({"name": "random", "launch": "python serve.py {port}"})
    with pytest.raises(ConfigError, match=r"policy.launch must say"):
        launch_of({"name": "openpi", "url": "ws://x", "environment": "/env"})
    with pytest.raises(ConfigError, match=r"policy=lerobot needs policy.checkpoint"):
        launch_of({"name": "lerobot", "url": None, "checkpoint": None})
    with pytest.raises(ConfigError, match=r"policy=openpi needs policy.url=ADDRESS .* or policy.launch=COMMAND"):
        launch_of({"name": "openpi", "url": None, "launch": None})
    assert launch_of({"name": "openpi", "url": "ws://127.0.0.1:8000", "launch": None}) is None


def test_uv_is_asked_once_for_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nfor last; do :; done\n[ "$1" = venv ] && mkdir -p "$last"\nexit 0\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = [LaunchEnvironment.find("uv:lerobot==0.4.4,python=3.11", ["msgpack"]) for _ in range(2)]
    assert made[0] == made[1]
    venv_call, install_call = calls.read_text().splitlines()
    assert venv_call.startswith("venv --quiet --python 3.11 ")
    assert install_call.endswith(f"--python {made[0].python} lerobot==0.4.4 msgpack")


REMOTE = ("openpi", "groot", "starvla", "vla_eval_server", "openvla_rest", "openvla_oft_rest", "xvla", "lerobot")


@pytest.mark.parametrize("policy", REMOTE)
def test_every_policy_with_a_server_can_be_launched_without_further_ado(policy: str) -> None:
    command = "python serve.py --port={port} 'a b'"
    leg = load_config(["suite=libero_goal", f"policy={policy}", f"policy.launch={command}", "policy.environment=~/env"]).legs[0]
    assert leg.policy["launch"] == command
    assert leg.policy["environment"] == str(Path.home() / "env")
    launch = launch_of(leg.policy)
    assert launch is not None
    scheme = {"groot": "tcp", "openvla_rest": "http", "openvla_oft_rest": "http", "xvla": "http"}.get(policy, "ws")
    assert launch.url(7) == f"{scheme}://127.0.0.1:7"
    aimed = load_config(["suite=libero_goal", f"policy={policy}", f"policy.launch={command}", f"policy.url={scheme}://x:1/path"])
    aimed_launch = launch_of(aimed.legs[0].policy)
    assert aimed_launch is not None
    assert aimed_launch.url(7) == f"{scheme}://127.0.0.1:7/path"


@pytest.mark.parametrize(("model", "policy"), [("smolvla", "lerobot"), ("pi0", "lerobot"), ("pi05", "openpi"), ("gr00t", "groot")])
def test_a_model_leads_to_the_policy_that_evaluates_it(model: str, policy: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no policy '{model}': that model is evaluated with .*policy={policy} "):
        load_config(["suite=libero_goal", f"policy={model}"])
