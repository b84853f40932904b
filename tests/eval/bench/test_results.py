"""`vla-eval bench results=N` measures what it says; its figures are never compared with a bound here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vlagym
from vlagym.errors import ConfigError, RunError
from vlagym.eval import cli
from vlagym.eval.bench import results as bench_results
from vlagym.eval.cli.bench import main as bench


@pytest.mark.slow
def test_every_command_is_measured_on_runs_of_that_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, figures = tmp_path / "kept", tmp_path / "figures.json"
    settings = ["results=100", "suites=2", "tasks=3", "seeds=1", "repeats=1", f"folder={kept}", f"json={figures}"]
    assert cli.main(["bench", *settings]) == 0
    found = json.loads(figures.read_text())
    assert [cost["command"] for cost in found["costs"]] == ["compare", "table", "report"]
    assert all(min(cost["seconds"], cost["cpu_seconds"], cost["peak_rss_mb"]) > 0 for cost in found["costs"])
    assert found["episodes"] == 102
    for name in ("baseline", "current"):
        run = vlagym.load_run(kept / name)
        assert run.complete
        assert len(run.results) == 102
        assert run.notices == ["These episodes were made up by vla-eval bench."]
    assert (kept / "report" / "index.html").is_file()
    assert "on runs of 102 episodes" in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="exit code 2.*baseline is not a run"):
        bench_results.measure("table", tmp_path, 1)
    (tmp_path / "thesis.tex").touch()
    assert cli.main(["bench", "results=100", f"folder={tmp_path}"]) == 2
    assert cli.main(["bench", "results=10"]) == 2
    assert cli.main(["bench", "results=100", "commands=[render]"]) == 2
    with pytest.raises(ConfigError, match="Did you mean 'repeats'"):
        bench(["results=100", "repeat=2"])
