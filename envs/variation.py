"""Variations of any suite: the camera stands elsewhere, lamps are dimmer, images are noisy or blurred, the words are others.

A variation is a sequence of small values, each one change, in the order in which they are made; conf/variation/ has named ones and
``suite.variation=[camera_left,dim]`` composes them. It is part of the protocol. A varied episode has the physics of the plain one:
what is changed is what the policy sees and reads, and nothing but (task, trial, seed) and the moment decides how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta

from .._registry import unknown_name
from ..conf import group_names, settings_file, whose
from ..edges.files import FileKind
from ..edges.settings import check_settings, shown
from ..errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Float64Array = NDArray[np.float64]

Metres = Annotated[float, Meta(ge=-5, le=5)]
Degrees = Annotated[float, Meta(ge=-180, le=180)]
Factor = Annotated[float, Meta(ge=0, le=100)]
Amount = Annotated[float, Meta(ge=0, le=255)]

_NAMED = FileKind("a variation", ConfigError, "Compare it with the files in conf/variation/.", max_bytes=1 << 20)
_PARAPHRASES = FileKind(
    "a file of paraphrases", ConfigError, "It is a JSON object: every instruction of the suite, and one or a list of others for it."
)
_Words = Annotated[str, Meta(min_length=1, max_length=512)]  # vlagym.envs.spec.MAX_INSTRUCTION_LENGTH
_WordsFile = dict[str, _Words | Annotated[list[_Words], Meta(min_length=1)]]


@dataclass(frozen=True)
class Camera:
    """The third-person camera moves along its own axes (m), then turns left, up, and against the clock (degrees)."""

    kind: ClassVar[str] = "camera"
    right_m: Metres = 0.0
    up_m: Metres = 0.0
    back_m: Metres = 0.0
    left_deg: Degrees = 0.0
    raised_deg: Degrees = 0.0
    rolled_deg: Degrees = 0.0


@dataclass(frozen=True)
class Light:
    """Every light gives so many times as much red, green and blue."""

    kind: ClassVar[str] = "light"
    red: Factor = 1.0
    green: Factor = 1.0
    blue: Factor = 1.0


@dataclass(frozen=True)
class Noise:
    """Normal noise on every pixel and channel of every camera; standard deviation in grey levels of 255."""

    kind: ClassVar[str] = "noise"
    sigma: Amount = 0.0


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of every camera's images; standard deviation as a share of their width, so that size does not matter."""

    kind: ClassVar[str] = "blur"
    share: Annotated[float, Meta(ge=0, le=0.5)] = 0.0


@dataclass(frozen=True)
class Words:
    """Every instruction in other words: trial k is told the k-th of those for its own, beginning anew after the last."""

    kind: ClassVar[str] = "words"
    sentences: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Instructions:
    """Sentences of the user's own, by task: trial k is told the k-th of its task's, beginning anew after the last."""

    kind: ClassVar[str] = "words"
    tasks: tuple[tuple[str, tuple[str, ...]], ...]

    def number(self, task: str, trial: int) -> int | None:
        """Which of its task's sentences a trial is told, from 1; None for a task that keeps its own."""
        said = dict(self.tasks).get(task)
        return None if said is None else trial % len(said) + 1


Change = Camera | Light | Noise | Blur | Words | Instructions
_KINDS: Mapping[str, type[Any]] = {kind.kind: kind for kind in (Camera, Light, Noise, Blur)}
KINDS = (*_KINDS, Words.kind)
ON_IMAGES_AND_WORDS = (Noise.kind, Blur.kind, Words.kind)  # what needs nothing of a simulator


def read_variation(entries: Any) -> tuple[Change, ...]:
    """The changes that a setting names.

    Args:
        entries: Names in conf/variation/ and mappings of a change's name to its values, one or a list of them;
            ``{words: {file: FILE}}`` takes its sentences from a file.

    Raises:
        ConfigError: An unknown name or value, words twice, or a file that is not one of paraphrases.
    """
    listed = entries if isinstance(entries, list | tuple) else [] if entries is None else [entries]
    return _said_once(tuple(change for entry in listed for change in _changes(entry)))


def with_instructions(variation: tuple[Change, ...], instructions: Instructions) -> tuple[Change, ...]:
    """The changes and the user's own instructions.

    Raises:
        ConfigError: The words are changed already.
    """
    return _said_once((*variation, instructions))


def _said_once(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    if sum(change.kind == Words.kind for change in changes) > 1:
        raise ConfigError(
            "suite.variation must hold words only once, and suite.instructions are words too: a sentence cannot be said in two "
            "ways at a time."
        )
    return changes


def _changes(entry: Any) -> Iterable[Change]:
    if isinstance(entry, str):
        entry = _said_by(entry)
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"suite.variation must hold names in conf/variation/ and mappings such as light: ...; got {shown(entry)}."
        )
    for kind, values in entry.items():
        if kind not in KINDS:
            raise unknown_name("change in suite.variation", str(kind), KINDS)
        if not isinstance(values, Mapping):
            raise ConfigError(f"suite.variation: {kind} must be a mapping of its values; got {shown(values)}.")
        if kind == Words.kind:
            yield _words(values)
        else:
            check_settings(f"suite.variation: {kind}.", _KINDS[kind], values)
            yield _KINDS[kind](**{name: float(value) for name, value in values.items()})


def _said_by(name: str) -> Any:
    """What the file of a named variation says."""
    file = settings_file("variation", name)
    if file is None:
        raise unknown_name("variation", name, group_names("variation"))
    return _NAMED.yaml(file)


def as_recorded(entries: Any) -> Any:
    """A setting ``suite.variation`` as a run keeps it: what a name of the user's own stands for is written out.

    vlagym's own names stay: they are at hand wherever the run is.
    """
    listed = entries if isinstance(entries, list | tuple) else [entries]
    own = [isinstance(entry, str) and whose("variation", entry) not in (None, "vlagym") for entry in listed]
    if not any(own):
        return entries
    return [_said_by(entry) if is_own else entry for entry, is_own in zip(listed, own, strict=True)]


def _words(values: Mapping[str, Any]) -> Words:
    file = values.get("file")
    if set(values) != {"file"} or not isinstance(file, str):
        raise ConfigError(
            f"suite.variation: words must name a file of paraphrases, words: {{file: FILE}}; got {shown(dict(values))}."
        )
    found = _PARAPHRASES.converted(Path(file), _PARAPHRASES.json(Path(file)), _WordsFile)
    return Words(tuple((plain, (said,) if isinstance(said, str) else tuple(said)) for plain, said in sorted(found.items())))


def as_values(variation: Sequence[Change]) -> list[dict[str, Any]]:
    """The changes as plain JSON values, for a protocol."""
    return [{"kind": change.kind, **asdict(change)} for change in variation]


def described(variation: Sequence[Change]) -> str:
    """The changes in a few words, e.g. ``camera right_m=-0.1, light red=0.5``; ``none`` without any."""
    return ", ".join(map(_described, variation)) or "none"


def _described(change: Change) -> str:
    if isinstance(change, Words):
        return f"{change.kind} for {len(change.sentences)} instructions"
    if isinstance(change, Instructions):
        return f"own instructions for {len(change.tasks)} task{'s' if len(change.tasks) > 1 else ''}"
    values = [f"{field.name}={value:g}" for field in fields(change) if (value := getattr(change, field.name)) != field.default]
    return " ".join([change.kind, *values])


def moved(pos: Float64Array, axes: Float64Array, variation: Sequence[Change]) -> tuple[Float64Array, Float64Array]:
    """Where the camera stands after the changes: float64[3] in m and float64[3, 3], whose columns are right, up and back."""
    from scipy.spatial.transform import Rotation

    for change in variation:
        if isinstance(change, Camera):
            pos = pos + axes @ np.array([change.right_m, change.up_m, change.back_m])
            axes = (
                axes @ Rotation.from_euler("YXZ", [change.left_deg, change.raised_deg, change.rolled_deg], degrees=True).as_matrix()
            )
    return pos, axes


def light_factors(variation: Sequence[Change]) -> tuple[float, float, float]:
    """By how much all lights are stronger: red, green, blue."""
    found = [(change.red, change.green, change.blue) for change in variation if isinstance(change, Light)]
    red, green, blue = np.prod([(1.0, 1.0, 1.0), *found], axis=0)
    return float(red), float(green), float(blue)


def altered(picture: Image, variation: Sequence[Change], moment: str, render_state: Float64Array) -> Image:
    """The picture uint8[H, W, 3] with its noise and blur.

    Args:
        picture: As the simulator drew it.
        variation: The changes.
        moment: What it is a picture of (task, trial, seed, camera); with `render_state` it decides the noise.
        render_state: All that the picture depends on.
    """
    for place, change in enumerate(variation):
        if isinstance(change, Noise):
            digest = hashlib.sha256(f"{place}/{moment}".encode() + np.ascontiguousarray(render_state).tobytes()).digest()
            drawn = np.random.default_rng(np.frombuffer(digest, "<u4")).normal(0.0, change.sigma, picture.shape)
            picture = np.clip(np.rint(picture + drawn), 0, 255).astype(np.uint8)
        elif isinstance(change, Blur):
            from scipy.ndimage import gaussian_filter

            sigma = change.share * picture.shape[1]
            picture = np.rint(gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="nearest")).astype(np.uint8)
    return picture


def all_said(sentence: str, variation: Sequence[Change], task: str) -> tuple[str, ...]:
    """What may be said instead of an instruction; trial k is told the k-th, beginning anew after the last.

    Args:
        sentence: The suite's own.
        variation: The changes.
        task: What it asks for: a task, or the subtask of a chain.

    Raises:
        ConfigError: The file of paraphrases has none for it.
    """
    instructions = next((change for change in variation if isinstance(change, Instructions)), None)
    if instructions is not None:
        return dict(instructions.tasks).get(task, (sentence,))
    words = next((change for change in variation if isinstance(change, Words)), None)
    if words is None:
        return (sentence,)
    found = dict(words.sentences).get(sentence)
    if found is None:
        raise ConfigError(f"suite.variation: the file of paraphrases has none for {sentence!r}; add it.")
    return found
