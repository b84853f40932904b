"""Joins what the shards of a run have left: from then on the folder is that of one process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..._stages import stage
from ...episode import EpisodeResult, EpisodeSpec
from ...errors import RunError
from ..tables.folder import RunFolder, joined
from ..tables.realtime import realtime_sheet
from ..tables.runs import Run, load_plan, load_run
from ..tables.shards import episode_files, sheet_files
from ..tables.subject import subjects
from ..tables.success import chain_sheet, group_sheet, write_summary
from ..tables.variants import category_sheet
from .store import remove_parts


@dataclass(frozen=True)
class Merged:
    """What was joined.

    Attributes:
        run: The run, read back.
        shards: How many shards had left something.
        episodes: How many of their results were not in episodes.jsonl.
    """

    run: Run
    shards: int
    episodes: int


def merge(path: Path) -> Merged:
    """Put the results of a run's shards into its episodes.jsonl, and what they ran on into its run.json.

    The shards' own files are removed when all that they held is on the disk elsewhere.

    Args:
        path: The run's folder.

    Raises:
        RunError: Not a run; a shard is still being run; shards measured different things, or the same episode differently.
        StorageError: It cannot be written; nothing is lost.
    """
    folder = RunFolder(path)
    with folder.open_log() as log:
        stage("reading and checking what the shards have left")
        _, header, _ = load_plan(folder)  # everything is checked before anything is written
        by_file = folder.results_by_file()
        _check_agreement(by_file)
        own = by_file.get(folder.episodes_file, {})
        new = [result for spec, result in joined(by_file).items() if own.get(spec) != result]
        stage(f"writing {len(new)} episodes into {folder.episodes_file.name}")
        log.repair()
        log.extend(new)
        folder.write_header(header)
        shards = episode_files(path).keys() | sheet_files(path).keys()
        for file in (*episode_files(path).values(), *sheet_files(path).values()):
            file.unlink()
        remove_parts(path)
    stage("reading the joined run and writing its tables")
    run = load_run(path)
    others = {
        "categories": (run.categories(), category_sheet),
        "groups": (run.groups(), group_sheet),
        "chains": (run.chains(), chain_sheet),
        "realtime": (run.timings(), realtime_sheet),
    }
    write_summary(run.path, run.table(), run.notices, others, subjects(run))
    return Merged(run, len(shards), len(new))


def _check_agreement(by_file: dict[Path, dict[EpisodeSpec, EpisodeResult]]) -> None:
    """An episode is a pure function of its spec: run twice, it comes out the same."""
    first: dict[EpisodeSpec, tuple[Path, EpisodeResult]] = {}
    for file, results in by_file.items():
        for spec, result in results.items():
            where, known = first.setdefault(spec, (file, result))
            if known is result or None in (known.success, result.success) or known.outcome == result.outcome:
                continue
            raise RunError(
                f"{spec.id} came out differently in {where} and in {file.name}: the two did not run the same thing. Find out "
                "which of them is right, and move the other out of the folder."
            )
