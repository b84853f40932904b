"""Several runs at once: Cochran's Q, all pairs after Holm, and the set that cannot be told from the best."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import cochrans_q

from vlagym import load_run
from vlagym.errors import ConfigError
from vlagym.eval.bench.synthetic import write_run
from vlagym.eval.cli import main
from vlagym.eval.compare.comparison import Question
from vlagym.eval.compare.ranking import cochran_test, rank
from vlagym.eval.compare.sources import side_of_run

SUITE = {"mine": {"a": 50, "b": 50}}
# Siegel, Nonparametric Statistics (1956), p. 164: 18 housewives and three kinds of interview, Q = 16.7.
SIEGEL = "000 110 010 000 100 110 110 010 100 000 111 111 110 110 110 111 110 110"


def outcomes(text: str) -> np.ndarray:
    return np.array([[float(c) for c in row] for row in text.split()])


def run_of(folder: Path, solved: int) -> Path:
    return write_run(folder, SUITE, lambda spec: spec.trial < solved)


def test_cochrans_q_of_a_published_example() -> None:
    test = cochran_test(outcomes(SIEGEL))
    assert test.statistic == pytest.approx(16.667, abs=1e-3)
    assert test.degrees == 2
    assert test.p_value < 0.001


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_cochrans_q_is_that_of_statsmodels(rows: list[list[bool]]) -> None:
    table = np.array(rows, float)
    ours = cochran_test(table)
    if (table == table[:, :1]).all():
        assert np.isnan(ours.statistic)
    else:
        theirs = cochrans_q(table)
        assert ours.statistic == pytest.approx(theirs.statistic)
        assert ours.p_value == pytest.approx(theirs.pvalue)


def test_runs_that_cannot_be_told_apart_stay_together(tmp_path: Path) -> None:
    solved = {"good": 46, "better": 48, "poor": 20, "bad": 3}
    sides = [side_of_run(load_run(run_of(tmp_path / name, number))) for name, number in solved.items()]
    ranking = rank(sides, Question())
    assert ranking.labels == ("better", "good", "poor", "bad")
    assert [rate.value for rate in ranking.rates] == pytest.approx([0.96, 0.92, 0.4, 0.06])
    assert ranking.best == ("better", "good")
    assert ranking.trials == 100
    assert "cannot be told from the best: better, good; poor, bad are worse" in ranking.conclusion
    first = {(one, other): row for one, other, row in ranking.pairs}["better", "good"]
    assert (first.lost, first.gained, first.trials) == (4, 0, 100)


@given(st.lists(st.integers(0, 50), min_size=3, max_size=4))
@settings(max_examples=15, deadline=None)
def test_the_order_in_which_runs_are_named_changes_nothing(tmp_path_factory: pytest.TempPathFactory, solved: list[int]) -> None:
    folder = tmp_path_factory.mktemp("runs")
    sides = [side_of_run(load_run(run_of(folder / f"run_{i}", number))) for i, number in enumerate(solved)]
    forth, back = rank(sides, Question()), rank(sides[::-1], Question())
    assert set(forth.best) == set(back.best)
    assert forth.cochran.statistic == pytest.approx(back.cochran.statistic, nan_ok=True)
    assert sides[int(np.argmax(solved))].label in forth.best


def test_identical_runs_never_differ(tmp_path: Path) -> None:
    sides = [side_of_run(load_run(run_of(tmp_path / name, 30))) for name in "abc"]
    ranking = rank(sides, Question())
    assert set(ranking.best) == {"a", "b", "c"}
    assert np.isnan(ranking.cochran.statistic)
    assert all(row.p_adjusted == 1 for _, _, row in ranking.pairs)


def test_the_command_compares_four_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(run_of(tmp_path / name, number)) for name, number in {"a": 46, "b": 48, "c": 20, "d": 3}.items()]
    files = [f"--json={tmp_path / 'ranking.json'}", f"--markdown={tmp_path / 'ranking.md'}"]
    assert main(["compare", *runs, *files]) == 0
    told = capsys.readouterr().out
    assert "Cochran's Q over 100 trials" in told
    assert "These cannot be told from the best: b, a; c, d are worse" in told
    assert json.loads((tmp_path / "ranking.json").read_text())["best"] == ["b", "a"]
    assert (tmp_path / "ranking.md").read_text().startswith("# These cannot be told from the best: b, a;")


def test_what_cannot_be_ranked_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, third = (str(run_of(tmp_path / name, 30)) for name in ("one", "other", "third"))
    elsewhere = str(write_run(tmp_path / "elsewhere", SUITE, lambda spec: True, protocol={"horizon": 5}))
    cut = str(write_run(tmp_path / "cut", SUITE, lambda spec: spec.trial < 9 or None))
    for arguments, words in (
        ([one, other, one], "one is named twice"),
        ([one, other, elsewhere], "measured different things"),
        ([one, other, cut], "cut is incomplete"),
        ([one, other, "published:openvla"], "published:openvla has no trials"),
        ([one, other, third, "--junit", str(tmp_path / "x.xml")], "leave it out with three or more"),
    ):
        assert main(["compare", *arguments]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no episode"):
        sides = [side_of_run(load_run(write_run(tmp_path / s, {s: {"a": 3}}, lambda spec: True))) for s in ("x", "y", "z")]
        rank(sides, Question())
