"""A varied run: recorded in its protocol, said in every output, the same on any workers, and paired with the plain run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlagym.errors import ConfigError
from vlagym.eval.compare.comparison import Question, compare_sides
from vlagym.eval.compare.sources import side_of_run
from vlagym.eval.run.evaluation import Outcome, resume
from vlagym.eval.tables.folder import RunFolder
from vlagym.eval.tables.runs import load_run

Run = Callable[..., Outcome]
Records = Callable[[Path], list[dict[str, Any]]]
SENTENCES = {
    "push the point to the right": "shove it",
    "push the point far": "shove it far",
    "push the point to 1": ["go", "go on"],
}


@pytest.fixture
def words(tmp_path: Path) -> str:
    (tmp_path / "words.json").write_text(json.dumps(SENTENCES))
    return f"{{words:{{file:{tmp_path}/words.json}}}}"


def test_a_varied_run_says_so_and_does_not_depend_on_workers(run_toy: Run, records: Records, words: str) -> None:
    variation = f"suite.variation=[noisy,{words}]"
    alone = run_toy("episodes_per_task=3", "workers=1", "video=none", variation, name="alone")
    together = run_toy("episodes_per_task=3", "workers=2", "video=none", variation, name="together")
    assert records(alone.folder) == records(together.folder)
    assert [result.instruction for result in RunFolder(alone.folder).results()].count("go on") == 2
    (leg,) = RunFolder(alone.folder).header()["legs"]
    assert leg["protocol"]["variation"][0] == {"kind": "noise", "sigma": 15.0}
    assert leg["protocol"]["variation"][1]["sentences"][2] == ["push the point to the right", ["shove it"]]
    assert any("variation is 'noise sigma=15, words for 3 instructions' instead of 'none'" in notice for notice in alone.notices)
    assert list(alone.categories["category"]) == ["noise + words", "mean over variants", "mean of categories"]
    assert "| noise + words |" in (alone.folder / "summary.md").read_text()


def test_a_run_whose_paraphrases_changed_is_not_resumed(run_toy: Run, words: str, tmp_path: Path) -> None:
    folder = run_toy("episodes_per_task=1", "video=none", f"suite.variation=[{words}]").folder
    assert resume(folder).complete
    (tmp_path / "words.json").write_text(json.dumps({**SENTENCES, "push the point far": "away"}))
    with pytest.raises(Exception, match=r"the protocol of toy is no longer the recorded one .*away"):
        resume(folder)


def test_a_sentence_without_a_paraphrase_is_refused_before_anything_runs(run_toy: Run, words: str, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"push the point to the right": "go"}')
    with pytest.raises(ConfigError, match=r"has none for 'push the point far'; add it"):
        run_toy("video=none", f"suite.variation=[{words}]")


def test_it_is_compared_with_the_plain_run_of_its_suite(run_toy: Run) -> None:
    plain = side_of_run(load_run(run_toy("episodes_per_task=3", "video=none", name="plain").folder))
    noisy = side_of_run(load_run(run_toy("episodes_per_task=3", "video=none", "suite.variation=[noisy]", name="noisy").folder))
    compared = compare_sides(plain, noisy, Question())
    assert [row.task for row in compared.rows] == ["noise", "average"]
    assert (compared.overall.trials, compared.overall.difference) == (6, 0.0)
    assert any("6 episodes of variants were compared with 6 plain trials" in note for note in compared.notes)
    same = compare_sides(noisy, noisy, Question())
    assert [row.task for row in same.rows] == ["push_right", "push_far", "average"]
    harder = run_toy("episodes_per_task=3", "video=none", "suite.variation=[noisy]", "suite.goal=0.5", name="harder").folder
    with pytest.raises(ConfigError, match=r"measured different things \(toy: goal: 1\.0 -> 0\.5\)"):
        compare_sides(plain, side_of_run(load_run(harder)), Question())
