"""From ``key=a,b,c`` to single runs: Hydra's grammar of several values, taken apart before a run's settings are composed.

``policy.checkpoint=a,b`` is a list of values, ``range(0,4)`` and ``choice(a,b)`` say it otherwise, ``suite=glob(libero_*)`` chooses
files of conf/. Every combination is one run; the last key changes fastest, as in Hydra's own multirun.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ...conf import group_names
from ...edges.secrets import masked
from ...errors import ConfigError

MOST_RUNS = 1_000
# Settings of a sweep as a whole: the same for all of its runs.
_OF_THE_SWEEP = ("run_dir", "resume")
_GROUPS = ("suite", "policy", "recipe")
_LONGEST_NAME = 120


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep.

    Attributes:
        name: Name of its folder within the sweep's: the settings that are its own, e.g. ``policy.chunk=4--seeds=_0_``.
        values: The settings that are its own, as they were typed: key -> value.
        overrides: All its settings, as `load_config` takes them, without ``run_dir``.
    """

    name: str
    values: dict[str, str]
    overrides: tuple[str, ...]


def expand(overrides: Sequence[str]) -> list[SweptRun]:
    """The runs that overrides with several values stand for; one run without a name of its own if none has several.

    Args:
        overrides: As typed: ``policy=random``, ``suite.trials=1,2,3``, ``seeds=range(0,5)``. A value with a comma that
            is not meant as several has to be in quotes.

    Raises:
        ConfigError: Values that cannot be listed, a key that cannot be swept, or more than 1,000 runs.
    """
    choices = [(key, _values(override)) for override in overrides for key in (override.partition("=")[0],)]
    swept = [key for key, values in choices if len(values) > 1]
    for key in swept:
        if key in _OF_THE_SWEEP:
            raise ConfigError(f"{key} is one for the whole sweep; its runs are kept in folders below run_dir.")
        if swept.count(key) > 1 or sum(key == other for other, _ in choices) > 1:
            raise ConfigError(f"{key} is given twice; a sweep takes all its values at once: {key}=A,B,C.")
    count = 1
    for _, values in choices:
        count *= len(values)
    if count > MOST_RUNS:
        raise ConfigError(f"{' x '.join(swept)} are {count} runs; a sweep has {MOST_RUNS} at most.")
    runs = []
    for chosen in product(*(values for _, values in choices)):
        settings = [(key, value) for (key, _), value in zip(choices, chosen, strict=True)]
        own = {key: value for key, value in settings if key in swept}
        rest = tuple(override for override in _joined(settings) if not override.startswith("run_dir="))
        runs.append(SweptRun(_folder_name(own), own, rest))
    twins = sorted({run.name for run in runs if sum(run.name == other.name for other in runs) > 1}) if len(runs) > 1 else []
    if twins:
        raise ConfigError(f"the sweep has the run {twins[0]} twice; name every value once.")
    return runs


def _joined(settings: Sequence[tuple[str, str | None]]) -> Iterator[str]:
    for key, value in settings:
        yield key if value is None else f"{key}={value}"


def _values(override: str) -> list[Any]:
    """The values of an override, each as it would be typed alone; ``[None]`` where it has no ``=``."""
    key, separator, text = override.partition("=")
    if not separator:
        return [None]
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:  # a path or a sentence that Hydra's grammar has no words for; commas mean there what they mean here
        return _split(override, text)
    if not parsed.is_sweep_override():
        return [text]
    if parsed.is_interval_sweep():
        raise ConfigError(f"{override}: an interval has no first and next value; list them, or use range(START,STOP,STEP).")
    found: Any = parsed.value()
    if isinstance(found, Glob):
        names = found.filter(group_names(key)) if key in _GROUPS else []
        if not names:
            raise ConfigError(f"{override}: there is no {key} of that name to choose; glob() is for {', '.join(_GROUPS)}.")
        return names
    return list(dict.fromkeys(_as_typed_alone(element) for element in parsed.sweep_iterator()))


def _as_typed_alone(element: Any) -> str:
    """An element that Hydra has read, as a user would type it: a plain word stays as it was."""
    from hydra.core.override_parser.types import Transformer

    return element if isinstance(element, str) else str(Transformer.str(element))


def _split(override: str, text: str) -> list[str]:
    """Text cut at its commas, but for those within brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    values = [part.strip() for part in parts] if len(parts) > 1 else parts
    if len(values) > 1 and not all(values):
        raise ConfigError(f"{override}: a value between two commas is missing.")
    return list(dict.fromkeys(values))


def _folder_name(own: dict[str, str]) -> str:
    """``KEY=VALUE--KEY=VALUE`` in characters that every file system takes; secrets masked, long names cut and marked."""
    pairs = "--".join(f"{key}={value}" for key, value in masked(own).items())
    name = re.sub(r"[^\w.=+-]", "_", pairs)
    if len(name) > _LONGEST_NAME or name != pairs:
        typed = "--".join(f"{key}={value}" for key, value in own.items())
        mark = f"--{hashlib.sha256(typed.encode()).hexdigest()[:6]}"
        name = name[: _LONGEST_NAME - len(mark)] + mark
    return name


def default_sweep_dir(keys: Sequence[str], started_at: str) -> Path:
    """``results/DATE--sweep--KEYS`` below the working directory."""
    names = "+".join(re.sub(r"[^\w.-]", "_", key) for key in keys)
    return Path("results") / f"{started_at}--sweep--{names[:_LONGEST_NAME]}"
