"""The example of a GitHub workflow: its YAML, and its own scripts run as GitHub would, on a baseline of the toy suite."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import vlagym
from vlagym.conf import group_names
from vlagym.envs.assets.manifest import MANIFESTS_DIR, manifest_names
from vlagym.envs.packages import BENCHMARK_PACKAGES
from vlagym.eval.cli.command import COMMANDS
from vlagym.eval.run.evaluation import Outcome

WORKFLOW = Path(__file__).parents[2] / "examples" / "ci" / "gate.yml"
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return loaded


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow["jobs"]["gate"]["steps"]
    return found


def run_step(workflow: dict[str, Any], name: str, folder: Path, **environment: str) -> int:
    """Run a step's script as GitHub does; what it prints goes to pytest."""
    script = next(step["run"] for step in steps_of(workflow) if step.get("name") == name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {**os.environ, **workflow["env"], "PATH": path, "PYTHONPATH": str(HELPERS), **environment}
    for file in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        settings[file] = str(folder / file)
    settings.pop("VLAGYM_ASSETS_DIR")
    return subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=settings, check=False).returncode


def commands_of_ours(workflow: dict[str, Any]) -> list[str]:
    scripts = "\n".join(step.get("run", "") for step in steps_of(workflow)) + "\n" + WORKFLOW.read_text(encoding="utf-8")
    return re.findall(r"(?:^|`)\s*vla-eval +([^\s`]+)", scripts.replace("\\\n", " "), re.MULTILINE)


def test_the_workflow_is_one_and_names_what_there_is(workflow: dict[str, Any]) -> None:
    assert workflow[True] == {"pull_request": None, "workflow_dispatch": None}  # YAML takes the key "on" for true
    assert all(("uses" in step) != ("run" in step) for step in steps_of(workflow))
    settings = workflow["env"]
    assert settings["VLAGYM_WHEEL"] == f"wheels/vlagym-{vlagym.__version__}-py3-none-any.whl"
    assert settings["ASSETS"] in ("", *manifest_names())
    assert settings["POLICY"] in group_names("policy")
    assert settings["BENCHMARK"] in BENCHMARK_PACKAGES
    for command in commands_of_ours(workflow):
        assert command in COMMANDS or "=" in command
    used = set(re.findall(r"\$\{\{ env\.(\w+) \}\}|\$(\w+)", WORKFLOW.read_text(encoding="utf-8")))
    names = {a or b for a, b in used}
    assert names - {"manifests", "status", "PWD", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} <= set(settings)


def test_assets_are_kept_by_what_the_manifests_say(workflow: dict[str, Any], tmp_path: Path) -> None:
    step = next(step for step in steps_of(workflow) if step.get("id") == "assets")
    assert run_step(workflow, step["name"], tmp_path) == 0
    expected = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(MANIFESTS_DIR.glob("*.json")))).hexdigest()
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"sha256={expected[:16]}\n"
    keys = [step["with"]["key"] for step in steps_of(workflow) if step.get("uses", "").startswith("actions/cache")]
    assert any("steps.assets.outputs.sha256" in key for key in keys)


@pytest.fixture
def repository(run_toy: Callable[..., Outcome], tmp_path: Path) -> Path:
    """A checkout with a baseline, of which only the three files that the workflow asks for are committed."""
    run = run_toy("video=none", name="run").folder
    baseline = tmp_path / "repository" / "baselines" / "lift"
    baseline.mkdir(parents=True)
    for name in ("config.yaml", "run.json", "episodes.jsonl"):
        shutil.copy(run / name, baseline)
    return tmp_path / "repository"


def test_a_policy_that_is_as_good_passes(workflow: dict[str, Any], repository: Path) -> None:
    assert run_step(workflow, "Gate", repository, POLICY="push", MARGIN="30") == 0
    assert (repository / "gate-outcome" / "gate.md").read_text().startswith("# ✅ No regression: gate against lift")
    assert not list(repository.glob("gate/videos/*.mp4"))


def test_what_cannot_be_told_fails_unless_it_may_pass(workflow: dict[str, Any], repository: Path, capfd: Any) -> None:
    """Twenty pairs of equal outcomes do not suffice for a margin of 2 points."""
    assert run_step(workflow, "Gate", repository, POLICY="push", MARGIN="2") == 3
    assert "::warning::The gate cannot tell" in capfd.readouterr().out
    shutil.rmtree(repository / "gate")
    assert run_step(workflow, "Gate", repository, POLICY="push", MARGIN="2", CANNOT_TELL="pass") == 0
    shutil.rmtree(repository / "gate")
    refused = run_step(workflow, "Gate", repository, POLICY="pusch", CANNOT_TELL="pass")
    assert refused == 2, "a refusal never passes"


def test_a_policy_that_is_worse_fails_and_everything_is_kept(workflow: dict[str, Any], repository: Path) -> None:
    assert run_step(workflow, "Gate", repository, POLICY="random") == 1
    assert run_step(workflow, "Report", repository) == 0
    assert (repository / "GITHUB_STEP_SUMMARY").read_text().startswith("# ❌ Regression")
    assert list(ElementTree.parse(repository / "gate-outcome" / "gate.xml").getroot().iter("failure"))
    for step in steps_of(workflow):
        if step.get("uses", "").startswith("actions/upload-artifact"):
            assert all((repository / path).exists() for path in step["with"]["path"].split())
    assert list(repository.glob("gate/videos/*success=False*.mp4"))
