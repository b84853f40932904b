"""The examples of a Slurm array and of a Kubernetes indexed job, run as plain processes in the way that each scheduler would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from vlagym.eval.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
HELPERS = Path(__file__).parents[1] / "helpers"
TOY = ["suite=toy", "policy=push", "episodes_per_task=1", "video=none"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """One in which `vla-eval` is this checkout's."""
    command = folder / "bin" / "vla-eval"
    command.parent.mkdir(exist_ok=True)
    if not command.exists():  # a file that a shell is just executing cannot be written
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m vlagym.eval.cli "$@"\n')
        command.chmod(0o755)
    path = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": path, **more}


def test_slurm(tmp_path: Path) -> None:
    script = EXAMPLES / "slurm" / "array.sbatch"
    (array,) = re.findall(r"^#SBATCH --array=(\S+)$", script.read_text(), re.MULTILINE)
    assert array == "0-63"
    processes = []
    for task in range(2):
        slurm = {"ID": f"{task}", "MIN": "0", "MAX": "1", "COUNT": "2", "STEP": "1"}
        told = {f"SLURM_ARRAY_TASK_{name}": value for name, value in slurm.items()}
        env = environment(tmp_path, RUN=str(tmp_path / "run"), SLURM_CPUS_PER_TASK="1", **told)
        processes.append(subprocess.Popen(["bash", str(script), *TOY], env=env, stdout=subprocess.DEVNULL))
    assert [process.wait(120) for process in processes] == [0, 0]
    assert main(["merge", str(tmp_path / "run")]) == 0


def test_kubernetes(tmp_path: Path) -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes" / "indexed-job.yaml").read_text())["spec"]
    (container,) = job["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    assert job["completionMode"] == "Indexed"
    assert given == {"JOB_COMPLETIONS": str(job["completions"])}
    (volume,) = container["volumeMounts"]
    arguments = [a for a in container["args"] if not a.startswith(("suite=", "policy="))]
    arguments = [argument.replace(volume["mountPath"], str(tmp_path / "volume")) for argument in arguments]
    assert arguments == ["shard=auto", f"run_dir={tmp_path / 'volume' / 'libero_goal'}"]
    processes = []
    for pod in range(2):
        env = environment(tmp_path, JOB_COMPLETION_INDEX=str(pod), JOB_COMPLETIONS="2")
        command = [*container["command"], *TOY, "workers=1", *arguments]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
    assert [process.wait(120) for process in processes] == [0, 0]
    assert main(["merge", str(tmp_path / "volume" / "libero_goal")]) == 0
