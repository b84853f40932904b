"""What an actor of a Ray cluster does: make sure that its machine is like that of the run, call in, and be a worker or a seat."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from ...edges.text import differences
from ..record.provenance import environment
from .switchboard import call_in

# Decide into how many parts sums are split; Ray sets the first for its actors, where the main process may have none.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_OWN_PATHS = ("VLAGYM_ASSETS_DIR", "VLAGYM_ASSETS_LIBERO_PLUS_ZIP")  # a machine's own say where it keeps its data


class Call(TypedDict):
    """What an actor is told: plain values, so that a machine without vlagym can take it and say what it lacks.

    Attributes:
        address: Where to call in.
        word: To say there.
        task: Pickled: a function, and its arguments after the socket.
        environment: Variables of the main process that count.
        same: `identity` of the main process.
        path: Where it imports from.
        folder: Where it was started.
        gpu: Whether the actor was given one.
    """

    address: tuple[str, int]
    word: bytes
    task: bytes
    environment: dict[str, str]
    same: dict[str, Any]
    path: list[str]
    folder: str
    gpu: bool


def identity() -> dict[str, Any]:
    """What has to be the same on all machines of a run, where they have it."""
    found = environment()
    return {**{key: found[key] for key in ("vlagym", "code_sha256", "python")}, **found["packages"]}


def surroundings() -> dict[str, str]:
    """The variables of this process that count on other machines, too."""
    return {name: value for name, value in os.environ.items() if name.startswith("VLAGYM_") or name in _THREADS}


def serve(call: Call, place: str) -> str | None:
    """Be what the main process asks for, until it hangs up; returns what this machine lacks, if it lacks something."""
    _take_over(call)
    if found := _differences(call["same"], identity()):
        return f"{place} is not like the machine that the run was started on ({found}); install the same there."
    try:
        main, arguments = pickle.loads(call["task"])
    except (ImportError, AttributeError) as error:
        return f"{place} lacks what the run needs: {error}."
    try:
        end = call_in(call["address"], call["word"], place)
    except OSError as error:
        host, port = call["address"]
        return f"{place} cannot reach the machine of the run at {host}:{port}: {error}. Ports must be open between the machines."
    main(end, *arguments)
    return None


def _take_over(call: Call) -> None:
    """Have the main process's variables and folder, as a process of its own machine would."""
    if Path(call["folder"]).is_dir():
        os.chdir(call["folder"])
    for name in _THREADS:
        os.environ.pop(name, None)
    own = {name: os.environ[name] for name in _OWN_PATHS if name in os.environ}
    os.environ.update(call["environment"] | own)
    if not call["gpu"] and os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # Ray's way to keep CUDA from it; it may draw on a GPU
        del os.environ["CUDA_VISIBLE_DEVICES"]


def _differences(wanted: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs of what both have: who needs a package that is missing here says so itself."""
    both = [key for key in wanted if key in here]
    return differences({key: wanted[key] for key in both}, {key: here[key] for key in both})
