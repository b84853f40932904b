"""Forward passes of one fixed shape, whoever is asked about: what makes a row's numbers independent of its company.

A library chooses its kernels, and with them the order of every sum, by the shapes it is given. Rows are therefore filled up to
the same number in every pass, prompts to the same width; observations whose prompts are too long for it have passes of their own.
On a processor threads share out the rows, and a row's sums depend on whose share it is in: one thread computes a pass. And of a
function of single numbers it computes as many at a time as a register holds; what is left over at the end of a tensor comes out by
another routine, in the last row and in no other: such functions are computed by `row_by_row`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_ALIGNMENT = 8  # positions: what matrix units and attention kernels like
_AT_A_TIME = 64  # numbers that PyTorch's loops take at once: two registers of 512 bits, of 16 bits per number
_FURTHER = 32  # positions between the widths of prompts longer than any that the suite lists

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Widths:
    """To how many tokens prompts are filled up.

    Args:
        longest: Of the prompts that are known beforehand, in tokens.
        beside: Positions of a pass beside the prompt's.
    """

    longest: int
    beside: int

    def of(self, length: int) -> int:
        """The width for a prompt: of the known ones always the same."""
        usual = -(-(self.longest + self.beside) // _ALIGNMENT) * _ALIGNMENT - self.beside
        return usual + max(0, -(-(length - usual) // _FURTHER)) * _FURTHER


def passes(widths: Sequence[int], rows: int) -> Iterator[tuple[int, list[int]]]:
    """Who goes together: a width, and the indices of at most `rows` observations of that width."""
    for width in sorted(set(widths)):
        members = [index for index, other in enumerate(widths) if other == width]
        for start in range(0, len(members), rows):
            yield width, members[start : start + rows]


def fill_up(values: NDArray[T], rows: int) -> NDArray[T]:
    """[B, ...] -> [rows, ...], the last row repeated."""
    return values if len(values) == rows else values[np.minimum(np.arange(rows), len(values) - 1)]


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """While it lasts PyTorch computes on one thread of the processor, if that is the device; afterwards on as many as before."""
    import torch

    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def row_by_row(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """An elementwise function (sigmoid, SiLU ...) of [B, ...], the same numbers wherever in the batch a row is."""
    import torch

    if x.device.type != "cpu" or x[0].numel() % _AT_A_TIME == 0:
        return function(x)
    return torch.stack([function(row) for row in x])


def right_padded(prompts: Sequence[Sequence[int]], width: int, value: int) -> NDArray[np.int64]:
    """Token sequences as int64[B, width]."""
    padded = np.full((len(prompts), width), value, np.int64)
    for row, tokens in zip(padded, prompts, strict=True):
        row[: len(tokens)] = tokens
    return padded
