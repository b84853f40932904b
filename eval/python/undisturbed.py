"""What a program has besides its own objects (generators, torch's modes, the environment), put back after an evaluation."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np


@contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever happens in it, global state is afterwards what it was."""
    with ExitStack() as stack:
        stack.callback(_restore_environment, dict(os.environ))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        for restore in _torch() if "torch" in sys.modules else ():
            stack.callback(restore)
        yield


def _torch() -> Iterator[Callable[[], Any]]:
    """What puts torch's global state back."""
    import torch

    yield partial(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    yield partial(torch.set_num_threads, torch.get_num_threads())
    yield partial(torch.set_grad_enabled, torch.is_grad_enabled())
    yield partial(torch.set_default_dtype, torch.get_default_dtype())
    yield partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    yield partial(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled(), warn_only=warn_only)
    for owner, name in (
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
    ):
        yield partial(setattr, owner, name, getattr(owner, name))


def _restore_environment(before: dict[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
