"""The pages of the documentation: every command and setting in them exists, and every link leads somewhere."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pages import PAGES, REPO, commands_of, named, text_of, write_demonstrations, write_files

from vlagym.conf import CONF_DIR
from vlagym.edges.settings import check_settings
from vlagym.envs.assets import manifest_names
from vlagym.envs.packages import BENCHMARK_PACKAGES
from vlagym.envs.registry import make_suite
from vlagym.errors import ConfigError
from vlagym.eval.cli import bench, command, gate
from vlagym.eval.cli import list as list_command
from vlagym.eval.cli.config_dir import with_config_dir
from vlagym.eval.plan.config import compose_settings, load_config, split_suites
from vlagym.eval.plan.sweep import expand
from vlagym.policies.devices import without_devices
from vlagym.policies.launch.settings import without_launch
from vlagym.policies.own import SETTING
from vlagym.policies.registry import factory_named, own_code

COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})


class ParsedError(Exception):
    """A command's arguments are what the command takes."""


@pytest.fixture(autouse=True)
def only_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands end when they have parsed their arguments; the files that pages show are there."""
    write_files(tmp_path)
    write_demonstrations(tmp_path)
    monkeypatch.chdir(tmp_path)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        parse(self, *arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_there_is(command: str) -> None:
    check(shlex.split(command))


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("suite=libero_gaol", ConfigError),
        ("policy=random policy.chunks=2", ConfigError),
        ("bench suite=robosuite episode=3", ConfigError),
        ("gate baseline=RUN margins=3", ConfigError),
        ("sweep policy=random policy.chunks=2,3", ConfigError),
        ("doctor libero_gaol", ConfigError),
        ("table RUN --formats csv", ConfigError),
        ("compere A B", ConfigError),
    ],
)
def test_the_check_finds_what_there_is_not(command: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(shlex.split(command))


def check(arguments: Sequence[str]) -> None:
    """Check a command with the product's own checks, and run nothing."""
    with with_config_dir(arguments) as rest:
        check_with_settings(rest)


def check_with_settings(arguments: Sequence[str]) -> None:
    name, rest = arguments[0], arguments[1:]
    if name in ("--help", "--version") or rest == ["--help"]:
        return
    if name == "show":
        check_run(rest)
        return
    if name in ("sweep", "--multirun", "-m"):
        for run in expand(rest):  # none of its own where a page only names the command
            check_run(run.overrides)
        return
    if name == "gate":
        check_run(gate._split(rest)[1])
    elif name == "bench":
        measured, _ = bench._measurement(rest)
        settings = compose_settings(rest, measured)
        check_settings("", bench._DECLARED[measured], {k: v for k, v in settings.items() if k not in ("suite", "policy")})
    elif name == "serve":
        compose_settings(rest, "serve")
    elif name not in command.COMMANDS:
        check_run([argument for argument in arguments if argument != "--help" and not argument.startswith("resume=")])
    else:
        check_names(name, [argument for argument in rest if not argument.startswith("-")])
        with pytest.raises(ParsedError):
            import_module(command.COMMANDS[name][0]).main(rest)


def check_run(overrides: Sequence[str]) -> None:
    for leg in load_config(overrides).legs:
        make_suite(leg.suite)
        settings, factory = without_launch(without_devices(leg.policy)), factory_named(leg.policy)
        settings = {key: value for key, value in settings.items() if key not in ("name", own_code(leg.policy) and SETTING)}
        check_settings("policy.", factory, settings)


def check_names(name: str, names: Sequence[str]) -> None:
    """Of suites, benchmarks and asset sets, which argparse does not know."""
    if name == "doctor" and any(setting.startswith("policy=") for setting in names):
        check_run(names)
    elif name == "list" and names:
        list_command._listed(*names)
    elif name == "doctor" and names:
        split_suites([f"suite={','.join(names)}"])
    elif name == "install":
        assert set(names) <= set(BENCHMARK_PACKAGES)
    elif name == "assets":
        assert set(names[1:]) <= set(manifest_names())


KEYS = {
    group: {
        key
        for file in (CONF_DIR / group).rglob("*.yaml")
        for key in re.findall(r"^([a-z_]+):", file.read_text(encoding="utf-8"), re.M)
    }
    for group in ("suite", "policy")
}
# Those that no file of a suite or policy has, since all take them.
KEYS["suite"] |= {"annotations"}
KEYS["policy"] |= {"devices"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_setting_is_one_that_there_is(page: Path) -> None:
    mentioned = re.findall(r"`(suite|policy)\.([a-z_]+)(?<!\.py)(?=[=`])", text_of(page))
    assert not [f"{group}.{key}" for group, key in mentioned if key not in KEYS[group]]


def anchors_of(page: Path) -> set[str]:
    """What a link may name after ``#``: headings, as Markdown renderers spell them."""
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.S | re.M)
    headings = [re.sub(r"[`*]", "", heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(REPO) or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert not broken


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)\s*$", (REPO / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    assert listed == {page.relative_to(REPO / "docs").as_posix() for page in PAGES if (REPO / "docs") in page.parents}
