"""The space of instructions: sentences in any language, which gymnasium's vector environments carry whole.

gymnasium's own `Text` lists the characters that may occur, and its `AsyncVectorEnv` decodes the shared memory of a `Text` once,
before anything is in it, and hands out that for ever. A `Sentence` lies there as code points and is decoded when looked at.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils.shared_memory import read_from_shared_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAST_CODE_POINT = 0x10FFFF


class Sentence(spaces.Text):
    """Strings of printable characters and blanks, in any script; samples are ASCII.

    Args:
        max_length: Most characters.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length, min_length=1, charset=string.printable)

    def contains(self, x: Any) -> bool:
        """Whether it is such a string."""
        within = isinstance(x, str) and self.min_length <= len(x) <= self.max_length
        return within and all(character.isprintable() or character.isspace() for character in x)

    def __repr__(self) -> str:
        return f"Sentence({self.max_length})"


class _SharedSentences(Sequence[str]):
    """The sentences of a vector environment, as they stand in shared memory when looked at; a copy is a tuple of strings.

    Args:
        codes: int32[N, L], code points, 0 after the last.
    """

    def __init__(self, codes: NDArray[np.int32]) -> None:
        self._codes = codes

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[str]:
        return map(_decoded, self._codes)

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


@flatdim.register(Sentence)
def _flatdim(space: Sentence) -> int:
    return space.max_length


@flatten_space.register(Sentence)
def _flatten_space(space: Sentence) -> spaces.Box:
    return spaces.Box(0, _LAST_CODE_POINT, (space.max_length,), np.int32)


@flatten.register(Sentence)
def _flatten(space: Sentence, x: str) -> NDArray[np.int32]:  # type: ignore[misc]  # a generic Space[T] there
    codes = np.zeros(space.max_length, np.int32)
    codes[: len(x)] = [ord(character) for character in x]
    return codes


@unflatten.register(Sentence)
def _unflatten(space: Sentence, x: NDArray[np.int32]) -> str:  # type: ignore[misc]  # a generic Space[T] there
    return _decoded(x)


@read_from_shared_memory.register(Sentence)
def _read(space: Sentence, shared_memory: Any, n: int = 1) -> _SharedSentences:
    codes: NDArray[np.int32] = np.frombuffer(shared_memory.get_obj(), np.int32)
    return _SharedSentences(codes.reshape(n, space.max_length))


def _decoded(codes: NDArray[np.int32]) -> str:
    return "".join(map(chr, codes[codes > 0].tolist()))
