"""How a recipe lays out a request: which of a server's keys holds which image, which part of the state and the instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..base import PENDING, PolicyObservation
from .base import Question

if TYPE_CHECKING:
    from ..pipeline import Pipeline

_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class RequestForm:
    """The ``request`` of a recipe.

    Attributes:
        images: Key -> camera, in the order in which they are sent.
        instruction: Key of the sentence.
        state: Key -> (first entry, number of entries) of the transformed state; a dtype of its own may follow.
        state_dtype: ``float32`` or ``float64``.
        fixed: Further entries, the same in every request.
    """

    images: Mapping[str, str]
    instruction: str
    state: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    state_dtype: str = "float32"
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_recipe(cls, request: Mapping[str, Any]) -> RequestForm:
        """Read it.

        Raises:
            ConfigError: Something is missing, unknown or of the wrong kind.
        """
        try:
            form = cls(**request)
        except TypeError as error:
            takes = "images, instruction, state, state_dtype, fixed"
            raise ConfigError(f"policy.request takes {takes}; got {', '.join(request)}.") from error
        if not isinstance(form.images, Mapping) or not isinstance(form.instruction, str) or not isinstance(form.fixed, Mapping):
            raise ConfigError("policy.request needs images {KEY: CAMERA}, instruction KEY, and fixed {KEY: VALUE} if there is any.")
        if form.state_dtype not in _DTYPES:
            raise ConfigError(f"policy.request.state_dtype must be one of {', '.join(_DTYPES)}; got {form.state_dtype!r}.")
        for key, span in form.state.items():
            numbers, dtype = list(span[:2]), list(span[2:])
            fine = len(numbers) == 2 and all(isinstance(number, int) and number >= 0 for number in numbers)
            if not fine or len(dtype) > 1 or not set(dtype) <= set(_DTYPES):
                raise ConfigError(f"policy.request.state.{key} must be [first entry, number of entries]; got {list(span)}.")
        return form

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that it shows."""
        return tuple(dict.fromkeys(self.images.values()))

    def questions(self, pipeline: Pipeline, observations: Sequence[PolicyObservation]) -> list[Question]:
        """The observations in the server's terms.

        Raises:
            PolicyError: What a camera sent is not an image.
            ConfigError: The state has fewer entries than the recipe takes.
        """
        asked = []
        for observation, images in zip(observations, pipeline.images(observations), strict=True):
            by_camera = dict(zip(pipeline.cameras, images, strict=True))
            state = pipeline.state(observation) if self.state else None
            parts = {}
            for key, (first, count, *dtype) in self.state.items():
                assert state is not None
                if first + count > len(state):
                    raise ConfigError(f"policy.request.state.{key} ends at entry {first + count}; the state has {len(state)}.")
                parts[key] = state[first : first + count].astype(*dtype or [self.state_dtype])
            asked.append(
                Question(
                    images={key: by_camera[camera] for key, camera in self.images.items()},
                    state=parts,
                    instruction=observation["instruction"],
                    instruction_key=self.instruction,
                    fixed=self.fixed,
                    episode_id=observation["episode_id"],
                    step=observation["step"],
                    pending={name: observation[name] for name in PENDING if name in observation},
                )
            )
        return asked
