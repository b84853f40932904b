"""What the README says is what there is: its commands parse, its files exist, its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlagym.eval.cli import _COMMANDS
from vlagym.eval.config import load_config

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
RUNS = re.findall(r"`vla-eval ((?:suite|policy)=[^`]*)`", README)


@pytest.mark.parametrize("command", sorted(set(RUNS)))
def test_a_command_that_starts_a_run_is_understood(command: str) -> None:
    assert load_config(command.split()).legs


def test_every_command_named_exists() -> None:
    named = set(re.findall(r"vla-eval ([a-z]+)\b(?![=\w])", README))
    assert named <= set(_COMMANDS)
    assert {"list", "doctor", "bench", "assets", "install"} <= named


def test_every_file_named_exists() -> None:
    repo = Path(__file__).parents[1]
    for name in re.findall(r"\b((?:tests|conf|eval|envs|policies|docs|examples)/[\w./-]*)", README):
        assert (repo / name).exists(), name


def test_the_python_example_runs() -> None:
    code = re.search(r"^```python\n(.*?)^```", README, re.S | re.M)
    assert code is not None
    names: dict[str, object] = {}
    exec(code.group(1), names)
    assert names["observation"]["images"]["primary"].shape == (256, 256, 3)  # type: ignore[index]
    names["env"].close()  # type: ignore[attr-defined]
