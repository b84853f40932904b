"""Whatever is in a file, a setting or an argument: one sentence, in time, in bounded memory, nothing executed or written elsewhere.

The short storm runs in this process; the long one (``-m slow``) in processes with a limit on their memory and their time.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from vlagym.eval.cli import main as cli
from vlagym.eval.plan.config import load_config
from vlagym.eval.run.evaluation import evaluate

sys.path.insert(0, str(Path(__file__).parent))
from cases import Case, cases

SHORT = 180
LONG = int(os.environ.get("VLAGYM_BAD_INPUTS", "3200"))
SECONDS, BYTES = 10, 2 << 30


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the toy suite."""
    folder = tmp_path_factory.mktemp("good")
    for name in ("run", "other"):
        settings = ["suite=toy", "policy=random", "episodes_per_task=2", "video=none", "workers=1", f"run_dir={folder / name}"]
        evaluate(load_config(settings))
    return folder


def prepared(case: Case, good: Path, folder: Path) -> list[str]:
    """The case's command, on damaged copies of the good files."""
    shutil.copytree(good, folder)
    case.damage(folder)
    return [argument.format(folder) if "{}/" in argument else argument for argument in case.command]


def problem(case: Case, code: int, said: str, folder: Path) -> str | None:
    """What is wrong with how a case ended."""
    if "Traceback" in said:
        return "a traceback"
    if "\x1b" in said or "\x07" in said:
        return "an escape sequence on the terminal"
    if case.must_refuse and code == 0:
        return "accepted"
    if [file for file in folder.parent.iterdir() if file.name not in (folder.name, "home")]:
        return "something written elsewhere"
    return None


@pytest.mark.filterwarnings("ignore")
def test_a_short_storm_of_bad_inputs(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    starts_processes = ("render", "suite=toy", "resume={}/run")  # these are for the long one
    in_process = (case for case in cases(1) if case.kind == "settings" or case.command[0] not in starts_processes)
    for number, case in enumerate(itertools.islice(in_process, SHORT)):
        folder = tmp_path / f"{number}" / "case"
        folder.parent.mkdir()
        arguments = prepared(case, good, folder)
        try:
            code = cli(arguments)
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        except Exception as error:  # what the test is about
            found.append(f"{case.kind}: {case.name}: {type(error).__name__}: {error} ({' '.join(arguments)[:200]})")
            continue
        said = "".join(capsys.readouterr())
        if wrong := problem(case, code, said, folder):
            found.append(f"{case.kind}: {case.name}: {wrong} ({' '.join(arguments)[:200]}) {said[-300:]}")
        shutil.rmtree(folder.parent)
    assert not found, "\n".join(found)


WORKER = """
import contextlib, io, json, sys, traceback
from vlagym.eval.cli import main
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(json.loads(line))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
    sys.__stdout__.write(json.dumps([code, output.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""


class Server:
    """A process that runs one command after the other, with a limit on its memory."""

    def __init__(self) -> None:
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({BYTES}, {BYTES}))\n"
        command = [sys.executable, "-c", limit + WORKER]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        path = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")])
        surroundings = {**os.environ, "PYTHONPATH": path}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True, env=surroundings)

    def run(self, arguments: list[str], seconds: float) -> tuple[int, str] | None:
        """Exit code and output; None if it does not answer in time or dies."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self.process.stdout.readline()
        if not line:
            return None
        code, said = json.loads(line)
        return code, said

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_long_storm_of_bad_inputs(good: Path, tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    found: list[str] = []
    slack = float(os.environ.get("VLAGYM_BAD_INPUTS_SLACK", "1"))
    server = Server()
    server.run(["table", str(good / "run")], 120)
    for number, case in enumerate(itertools.islice(cases(2), LONG)):
        folder = tmp_path / f"{number}" / "case"
        folder.parent.mkdir()
        arguments = prepared(case, good, folder)
        answer = server.run(arguments, SECONDS * slack)
        counted[case.kind] += 1
        if answer is None:
            found.append(f"{case.kind}: {case.name}: no answer in {SECONDS} s, or dead ({' '.join(arguments)[:200]})")
            server.end()
            server = Server()
            server.run(["table", str(good / "run")], 120)
        elif wrong := problem(case, *answer, folder):
            found.append(f"{case.kind}: {case.name}: {wrong} ({' '.join(arguments)[:200]}) {answer[1][-400:]}")
        shutil.rmtree(folder.parent)
    server.end()
    print(dict(counted), f"{len(found)} of {LONG} went wrong")
    assert not found, "\n".join(found)
