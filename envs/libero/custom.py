"""Tasks of the user's own in LIBERO's world: ``suite=libero_custom suite.bddl=FOLDER``.

A task is a BDDL file in LIBERO's dialect; beside it lie its initial states (``NAME.pruned_init`` as LIBERO has them, or
``NAME.npz`` with float64[trials, 1 + nq + nv] called ``states``), or none: trial k then starts where the reference loop's k-th
reset has put everything, which follows from the scene's seed. All else is LIBERO's: horizon, settle steps, scenes, success.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..._registry import did_you_mean
from ...edges.settings import Count, Text, check_fields
from ...errors import ConfigError
from ..spec import Task
from .bddl import check_problem, read_language
from .init_states import load_init_states
from .setups import Setup
from .suite import LiberoSuite
from .tasks import TaskFiles

REMEDY = "Compare it with the BDDL files of hf-libero."
_INIT_STATES = (".pruned_init", ".npz")
_TOKEN = re.compile(r"[()]|[^\s()]+")


@dataclass(frozen=True)
class LiberoCustomSuite(LiberoSuite):
    """Tasks that a folder of BDDL files defines.

    Attributes:
        bddl: The folder, or one file.
        trials: Of each task that has no file of initial states.
    """

    bddl: Text = ""
    trials: Count = 50

    def __post_init__(self) -> None:
        check_fields("suite.", self)
        if not self._files():
            raise ConfigError(f"suite.bddl={self.bddl}: expected a folder with NAME.bddl files, or one such file; there is none.")

    def tasks(self) -> tuple[Task, ...]:
        return tuple(
            Task(name, read_language(files.bddl, REMEDY), self._trials(files), self.horizon)
            for name, files in self._files().items()
        )

    def setup(self, task: Task, trial: int) -> Setup:
        return Setup(self._files()[task.name], task.instruction, init_state=trial, reset=trial)

    def check_ready(self) -> None:
        super().check_ready()
        for files in self._files().values():
            check_problem(files.bddl, REMEDY)
            check_words(files.bddl, _vocabulary())

    def protocol(self) -> dict[str, Any]:
        """The content of the files instead of where they are."""
        content = {
            name: {file.suffix: hashlib.sha256(file.read_bytes()).hexdigest() for file in (files.bddl, files.init_states) if file}
            for name, files in self._files().items()
        }
        return {**super().protocol(), "bddl": content}

    def _trials(self, files: TaskFiles) -> int:
        return self.trials if files.init_states is None else len(load_init_states(files.init_states, REMEDY))

    def _files(self) -> Mapping[str, TaskFiles]:
        """Task name -> its files, by name."""
        path = Path(self.bddl).expanduser()
        found = [path] if path.suffix == ".bddl" and path.is_file() else sorted(path.glob("*.bddl")) if path.is_dir() else []
        return {file.stem: TaskFiles(file.resolve(), _init_states_of(file.resolve()), REMEDY) for file in found}


class Vocabulary(NamedTuple):
    """What LIBERO's data and code know, in lower case."""

    problems: tuple[str, ...]
    things: tuple[str, ...]
    predicates: tuple[str, ...]


def check_words(file: Path, known: Vocabulary) -> None:
    """Make sure that LIBERO knows every kind of object and predicate in a BDDL file, and the file every name that it uses.

    Raises:
        ConfigError: Names file, line and word, and what it may have been meant to be.
    """
    sections = dict(_sections(list(_words(file))))
    if missing := [name for name in ("problem", ":init", ":goal") if not sections.get(name)]:
        raise ConfigError(f"{file} is no BDDL problem: it has no ({missing[0]} ...). {REMEDY}")
    problem, line = sections["problem"][0]
    _check(file, line, "problem", problem, known.problems)
    names: list[str] = []
    for section in (":fixtures", ":objects"):
        listed = sections.get(section, [])
        for (before, _), (word, line) in pairwise(listed):
            if before == "-":
                _check(file, line, "kind of object", word, known.things)
        names += [word for (before, _), (word, _) in zip([("", 0), *listed], listed, strict=False) if "-" not in (before, word)]
    # LIBERO's own files have regions of things that are not there; none of them is used.
    regions = [f"{target}_{region}" for region, target in _regions(sections.get(":regions", [])) if target in names]
    for section in (":init", ":goal"):
        for (before, _), (word, line) in pairwise(sections[section]):
            if before == "(" and word not in ("and", "("):
                _check(file, line, "predicate", word, known.predicates)
            elif word not in ("(", ")", "and") and before != "(":
                _check(file, line, "object or region", word, [*names, *regions])


@cache
def _vocabulary() -> Vocabulary:
    """What the installed hf-libero knows."""
    from ..assets import locate
    from ._upstream import import_libero

    envs = import_libero(locate("libero").path)
    from libero.libero.envs.objects import get_object_dict
    from libero.libero.envs.predicates import get_predicate_fn_dict

    # Arenas: what a problem itself brings along.
    arenas = ("table", "kitchen_table", "living_room_table", "study_table", "coffee_table", "floor")
    return Vocabulary(tuple(envs.TASK_MAPPING), (*get_object_dict(), *arenas), tuple(get_predicate_fn_dict()))


def _check(file: Path, line: int, what: str, word: str, known: Any) -> None:
    if word not in known:
        raise ConfigError(f"{file}, line {line}: LIBERO knows no {what} {word!r}.{did_you_mean(word, known)}")


def _words(file: Path) -> Iterator[tuple[str, int]]:
    """The file's words and parentheses in lower case, without comments, each with its line from 1."""
    for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for match in _TOKEN.finditer(text.partition(";")[0]):
            yield match[0].lower(), line


def _sections(words: list[tuple[str, int]]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """``(:objects ...)`` and the like inside ``(define ...)``: name, and the words up to the parenthesis that closes it."""
    depth, start = 0, 0
    for at, (word, _) in enumerate(words):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "(" and depth == 2:
            start = at
        elif word == ")" and depth == 1:
            yield words[start + 1][0], words[start + 2 : at]


def _regions(words: list[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Name and target of each region; a region's entries are one level deeper."""
    depth, name, target = 0, "", ""
    for at, (word, _) in enumerate(words):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "(" and depth == 1:
            name, target = words[at + 1][0], ""
        elif word == ":target":
            target = words[at + 1][0]
        elif word == ")" and depth == 0:
            yield name, target


def _init_states_of(bddl: Path) -> Path | None:
    found = [bddl.with_suffix(suffix) for suffix in _INIT_STATES if bddl.with_suffix(suffix).is_file()]
    if len(found) > 1:
        raise ConfigError(f"{bddl.with_suffix('')} has initial states in {found[0].name} and {found[1].name}; keep one of them.")
    return found[0] if found else None
