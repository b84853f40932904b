"""Values are taken as they were typed; quoting is never needed for a path, and a mistake names the setting at fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlagym.errors import ConfigError
from vlagym.eval.cli import main as cli
from vlagym.eval.plan.config import load_config

PATHS = (
    "/a/x=y",
    "/a#1",
    "/a (copy)",
    "/a,b",
    "/a'b",
    "/模型/目标",
    "/a b",
    "/a[1]",
    "/{a}",
    '/a"b',
    "/a\\",
    "/${a}",
    "2024",
    "a:b",
    "1e5",
    300 * "a",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_taken_as_it_stands(path: str) -> None:
    config = load_config(["suite=toy", "policy=replay", f"policy.run={path}", f"run_dir={path}", f"assets.dir={path}"])
    assert (config.legs[0].policy["run"], config.run_dir, config.assets.dir) == (path, path, path)


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1).filter(lambda t: t != "null" and t[0] not in "~'\""))
@settings(max_examples=20, deadline=None)
def test_any_text_is_a_path(path: str) -> None:
    assert load_config(["policy=replay", f"policy.run={path}"]).legs[0].policy["run"] == path


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = load_config(["policy=replay", "policy.run=~/runs/one", "run_dir=~/x", "assets.dir=~"])
    assert (config.legs[0].policy["run"], config.run_dir, config.assets.dir) == (
        "/home/someone/runs/one",
        "/home/someone/x",
        "/home/someone",
    )


def test_quotes_still_mean_what_is_inside() -> None:
    assert load_config(["policy=replay", "policy.run='/a b'"]).legs[0].policy["run"] == "/a b"


@pytest.mark.parametrize(
    ("typed", "tasks"),
    [
        ("[push_right,1]", ("push_right", 1)),
        ("[推_a/b, sp ace: 1?]", ("推_a/b", "sp ace: 1?")),
        ("推_a=b", ("推_a=b",)),
        ("['a, b',c]", ("a, b", "c")),
        ("null", None),
        ("3", (3,)),
    ],
)
def test_names_of_tasks_are_taken_as_they_stand(typed: str, tasks: tuple[str | int, ...] | None) -> None:
    assert load_config(["suite=toy", "policy=random", f"tasks={typed}"]).tasks == tasks


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["policy=replay", "workrs=2", "policy.run=x"], "unknown setting 'workrs'. Did you mean 'workers'"),
        (["policy=replay", "policy.rum=x"], "unknown setting 'policy.rum'. Did you mean 'policy.run'"),
        (["policy=replay"], "policy=replay needs policy.run: give policy.run=VALUE"),
        (["policy=replay", "policy.run=x", "trials=[1"], "trials"),
        (["policy=openvla", "recipe=openvla-libero_gaol"], "unknown recipe 'openvla-libero_gaol'. Did you mean"),
        (["policy=重播"], "unknown policy '重播'"),
        (["policy=random", "+extra.of=1,2"], "extra"),
    ],
)
def test_the_message_names_the_setting_at_fault(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(overrides)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_in_a_folder_of_any_name_is_made_replayed_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "跑 (1), it's=a#run"
    settings = ["suite=toy", "episodes_per_task=1", "video=none", "workers=1"]
    assert cli([*settings, "policy=push", f"run_dir=~/{name}"]) == 0
    assert cli([*settings, "policy=replay", f"policy.run=~/{name}", f"run_dir={tmp_path}/again"]) == 0
    assert cli([f"resume=~/{name}"]) == 0
    assert (tmp_path / name / "episodes.jsonl").is_file()
