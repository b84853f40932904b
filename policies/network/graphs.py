"""A function of tensors whose shapes never change, replayed as one CUDA graph: one launch, and no Python in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from ...errors import PolicyError
from .passes import one_thread

Tensors: TypeAlias = tuple[torch.Tensor, ...]
_WARM_UP = 2  # calls before the capture: kernels are chosen and compiled, and constants come to the device


class FixedFunction:
    """Calls a function with buffers of its own that are filled anew each time; on a GPU its kernels are captured and replayed.

    Args:
        function: From tensors to tensors; it must not wait for a GPU. What it returns is overwritten by the next call.
        inputs: The buffers, on the device.
        graph: Whether to capture; only on a GPU.
    """

    def __init__(self, function: Callable[..., Tensors], inputs: Sequence[torch.Tensor], graph: bool) -> None:
        self._function = function
        self._inputs = tuple(inputs)
        self._graph = torch.cuda.CUDAGraph() if graph else None
        self._outputs: Tensors | None = None

    @torch.inference_mode()
    def __call__(self, *values: torch.Tensor) -> Tensors:
        """Fill the buffers with values of their shapes, from any device, and compute."""
        for buffer, value in zip(self._inputs, values, strict=True):
            buffer.copy_(value, non_blocking=True)
        if self._graph is None:
            with one_thread(self._inputs[0].device):
                return self._function(*self._inputs)
        if self._outputs is None:
            self._outputs = self._capture(self._graph)
        self._graph.replay()
        return self._outputs

    def _capture(self, graph: torch.cuda.CUDAGraph) -> Tensors:
        device = self._inputs[0].device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        try:
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    self._function(*self._inputs)
            torch.cuda.current_stream(device).wait_stream(stream)
            # Other threads may go on using the device: only what this one does is recorded.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                return self._function(*self._inputs)
        except RuntimeError as error:
            raise PolicyError(
                f"the network's forward pass cannot be captured as a CUDA graph ({str(error).splitlines()[0]}); "
                "policy.graphs=false runs it without."
            ) from error
