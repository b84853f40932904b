"""`setup.sh` on machines of all kinds: what it installs, makes and runs, and what it says where it may not.

The programs that it calls (apt-get, sudo, Python ...) are stand-ins that write down how they were called. What really comes of it
is tried by `.ci/run`, whose first and last commands it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pages import REPO

LIBRARIES = "libEGL.so.1 (libc6,x86-64)\nlibGL.so.1\nlibgthread-2.0.so.0\n"
PYTHON = """case "$*" in
  *version_info[:2]\\ \\<=*|*"import ensurepip"*) exit 0 ;;
  *"print("*) echo python3.11-venv; exit ;;
  "-m venv --clear .venv")
    mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip && cp "$(dirname "$0")/vla-eval" .venv/bin/ ;;
esac"""


@dataclass
class Machine:
    """A folder of stand-ins and a checkout with nothing but the script."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def has(self, program: str, does: str = "") -> Machine:
        """Give it a program, which writes down its arguments and then does this."""
        file = self.folder / "bin" / program
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/bash\necho "{program} $*" >> {self.folder}/calls\n{does}\n')
        file.chmod(0o755)
        return self

    def run(self, *arguments: str) -> tuple[int, str, list[str]]:
        """Run the script there: its exit code, what it said, and what it called beside looking around."""
        checkout = self.folder / "checkout"
        checkout.mkdir(exist_ok=True)
        shutil.copy(REPO / "setup.sh", checkout)
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder), **self.environment}
        done = subprocess.run(
            [checkout / "setup.sh", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        log = self.folder / "calls"
        calls = log.read_text().splitlines() if log.exists() else []
        looks = ("id ", "ldconfig", "dpkg-query", "sudo -n true")
        asked = [call for call in calls if not call.startswith(looks) and " -c " not in call and "--version" not in call]
        return done.returncode, done.stdout + done.stderr, asked


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Debian without libraries, run by root, with a Python that fits."""
    machine = Machine(tmp_path).has("id", "echo 0").has("ldconfig").has("dpkg-query", "exit 1").has("apt-get").has("vla-eval")
    return machine.has("python3.11", PYTHON)


@pytest.fixture
def equipped(bare: Machine) -> Machine:
    """The same with its libraries, run by a user who is no root."""
    bare.has("id", "echo 1000").has("ldconfig", f"echo '{LIBRARIES}'").has("dpkg-query", "echo install ok installed")
    return bare.has("sudo", "exit 1")


def test_a_bare_machine_gets_libraries_an_environment_the_package_and_the_default_run(bare: Machine) -> None:
    code, said, calls = bare.run()
    assert code == 0, said
    assert calls == [
        "apt-get update -qq",
        "apt-get install -y -qq libegl1 libgl1 libglib2.0-0 libegl-mesa0 libgl1-mesa-dri",
        "python3.11 -m venv --clear .venv",
        "python3.11 -m pip install -q pip>=24",  # the environment's Python is a copy
        "python3.11 -m pip install .",
        "vla-eval ",
    ]
    assert "in this shell: . .venv/bin/activate" in said


def test_what_is_there_is_left_as_it_is(equipped: Machine) -> None:
    assert equipped.run()[0] == 0
    (equipped.folder / "calls").unlink()
    code, said, calls = equipped.run()
    assert code == 0, said
    assert [call.split(maxsplit=1)[0] for call in calls] == ["python3.11", "python3.11", "vla-eval"]
    assert not any("venv" in call for call in calls)


def test_the_tests_need_all_extras(bare: Machine) -> None:
    code, said, calls = bare.run("test")
    assert code == 0, said
    assert [call.split("python3.11 -m ")[-1] for call in calls[-4:]] == [
        "pip install torch==2.13.0",
        "pip install -e .[dev,libero,calvin,openvla,remote,robovlms,rt1,simpler]",
        "vla-eval install libero",
        "pytest -n 2 --dist worksteal",
    ]


def test_who_may_not_install_is_given_the_line(bare: Machine) -> None:
    code, said, calls = bare.has("id", "echo 1000").has("sudo", "exit 1").run()
    assert code == 1
    assert "  sudo apt-get update && sudo apt-get install -y libegl1 libgl1 libglib2.0-0 libegl-mesa0 libgl1-mesa-dri\n" in said
    assert not calls


def test_a_sudo_that_asks_for_nothing_is_used(bare: Machine) -> None:
    code, said, calls = bare.has("id", "echo 1000").has("sudo", '[ "$1" = -n ] || exec "$@"').run()
    assert code == 0, said
    assert calls[0] == "sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq"


def test_another_system_is_told_what_it_needs_and_gone_on_with(bare: Machine) -> None:
    for program in ("bash", "dirname", "mkdir", "cp", "touch", "chmod", "env", "cat", "grep"):
        (bare.folder / "bin" / program).symlink_to(shutil.which(program) or program)
    (bare.folder / "bin" / "apt-get").unlink()
    bare.environment = {"PATH": str(bare.folder / "bin")}
    code, said, _ = bare.run()
    assert code == 0, said
    assert "this system has no apt-get; it needs what Debian calls libegl1 libgl1" in said


def test_an_active_environment_is_used_if_its_python_fits(equipped: Machine) -> None:
    active = equipped.folder / "active"
    equipped.environment = {"VIRTUAL_ENV": str(active)}
    shutil.copytree(equipped.folder / "bin", active / "bin")
    shutil.copy(active / "bin" / "python3.11", active / "bin" / "python")
    code, said, _ = equipped.run()
    assert code == 0, said
    assert not (equipped.folder / "checkout" / ".venv").exists()
    (active / "bin" / "python").write_text("#!/bin/bash\nexit 1\n")
    code, said, _ = equipped.run()
    assert code == 1
    assert f"the active environment {active} has no Python of 3.10 to 3.13" in said


@pytest.mark.parametrize(("environment", "said"), [({"PYTHON": "no-python"}, "PYTHON=no-python is not a Python of 3.10 to 3.13")])
def test_a_python_that_does_not_fit_is_refused(environment: dict[str, str], said: str, equipped: Machine) -> None:
    equipped.environment = environment
    code, printed, calls = equipped.run()
    assert code == 1
    assert said in printed
    assert not calls


def test_pythons_missing_part_is_asked_for(bare: Machine) -> None:
    without = PYTHON.replace('|*"import ensurepip"*', "").replace('*"print("*', '*"import ensurepip"*) exit 1 ;; *"print("*', 1)
    _, _, calls = bare.has("python3.11", without).run()
    assert "apt-get install -y -qq python3.11-venv" in calls


def test_another_word_is_refused(equipped: Machine) -> None:
    code, said, calls = equipped.run("install")
    assert (code, calls) == (2, [])
    assert "usage: ./setup.sh [test]" in said


def test_the_script_is_executable() -> None:
    assert os.access(REPO / "setup.sh", os.X_OK)
