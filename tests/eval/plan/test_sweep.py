"""Several values of a setting become single runs, as Hydra's multirun makes them."""

from __future__ import annotations

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.plan.sweep import expand


def values_of(override: str) -> list[str]:
    key = override.partition("=")[0]
    return [run.values.get(key, "") for run in expand([override])]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("seeds=0,1,2", ["0", "1", "2"]),
        ("seeds=range(0,4)", ["0", "1", "2", "3"]),
        ("policy=choice(random,scripted)", ["random", "scripted"]),
        ("suite=glob(libero_10*)", ["libero_10"]),
        ("suite=[libero_goal,robosuite],libero_10", ["[libero_goal,robosuite]", "libero_10"]),
        ("policy.checkpoint=/data/a-1.pt,openvla/openvla-7b", ["/data/a-1.pt", "openvla/openvla-7b"]),
        ("policy.checkpoint=random:small,~/b=2.pt", ["random:small", "~/b=2.pt"]),
        ("policy.checkpoint=random:small,b", ["random:small", "b"]),
        ("policy.launch='serve a, b',null", ["'serve a, b'", "null"]),
        ("tasks=#[a,b],c", ["#[a,b]", "c"]),
        ("seeds=1,1,2", ["1", "2"]),
    ],
)
def test_values_are_what_each_would_be_typed_as_alone(typed: str, values: list[str]) -> None:
    found = values_of(typed)
    assert found == (values if len(values) > 1 else [""])
    assert [run.overrides for run in expand([typed])] == [(f"{typed.partition('=')[0]}={value}",) for value in values]


@pytest.mark.parametrize(
    "typed", ["seeds=[0,1]", "policy.launch='a, b'", "run_dir=x", "tasks=[a]", "suite=robosuite", "x={a:1,b:2}"]
)
def test_one_value_is_one_run_as_it_was_typed(typed: str) -> None:
    (run,) = expand([typed])
    assert run.overrides == (() if typed.startswith("run_dir") else (typed,))
    assert not run.values


def test_the_last_key_changes_fastest_and_names_say_what_is_a_runs_own() -> None:
    runs = expand(["policy=random", "seeds=0,1", "suite.trials=5,6", "run_dir=here"])
    assert [run.name for run in runs] == [
        "seeds=0--suite.trials=5",
        "seeds=0--suite.trials=6",
        "seeds=1--suite.trials=5",
        "seeds=1--suite.trials=6",
    ]
    assert runs[2].overrides == ("policy=random", "seeds=1", "suite.trials=5")
    assert runs[2].values == {"seeds": "1", "suite.trials": "5"}


def test_a_folders_name_has_no_odd_characters_no_secret_and_an_end() -> None:
    runs = expand(["policy.checkpoint=/a/b,/a_b," + "x" * 500, "policy.api_key=hush-hush,other"])
    names = [run.name for run in runs]
    assert len(set(names)) == 6
    assert all("/" not in name and "hush" not in name and len(name) <= 120 for name in names)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["run_dir=a,b"], "run_dir is one for the whole sweep"),
        (["seeds=0,1", "seeds=2"], "seeds is given twice"),
        (["x=interval(0,1)"], "an interval has no first and next value"),
        (["suite=glob(nothing*)"], "there is no suite of that name"),
        (["policy.x=glob(a*)"], r"glob\(\) is for suite, policy, recipe"),
        (["policy.checkpoint=~a,,b"], "a value between two commas is missing"),
        (["a=range(0,100)", "b=range(0,100)"], "are 10000 runs"),
    ],
)
def test_what_is_no_sweep_is_refused_in_a_sentence(typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand(typed)
