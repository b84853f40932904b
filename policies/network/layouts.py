"""Folders that are checkpoints of another layout: what they are, and the next step, in a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

# Wrappers whose name training code leaves in front of every weight.
WRAPPERS = ("module.", "model.", "base_model.model.", "_orig_mod.", "vla.", "policy.")


def other_layout(folder: Path) -> str | None:
    """What a folder without our files is, if it is something known; else None."""
    names = {entry.name for entry in folder.iterdir()}
    if "saved_model.pb" in names:
        return (
            f"{folder} is a TensorFlow SavedModel. If it is an RT-1, convert it with `vla-eval convert rt1 {folder} OUT` and give "
            "policy.checkpoint=OUT."
        )
    if _is_prismatic(folder):
        return (
            f"{folder} is a run folder of the prismatic training code (checkpoints/*.pt), not a Hugging Face checkpoint. Convert "
            "it with openvla's vla-scripts/extern/convert_openvla_weights_to_hf.py and give that folder."
        )
    pickled = sorted(
        name for name in names if name.startswith(("pytorch_model", "adapter_model")) and name.endswith((".bin", ".pt"))
    )
    if pickled:
        return (
            f"{folder} keeps its weights as {pickled[0]}, which may hold Python objects and is not read. Save it as safetensors: "
            "load it where it was trained and call save_pretrained(OUT, safe_serialization=True)."
        )
    inner = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and (entry / "config.json").is_file())
    if inner:
        return f"{folder} holds checkpoints in folders of its own; give one of them: {', '.join(inner[:5])}."
    return None


def _is_prismatic(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*.pt")) or (folder.name == "checkpoints" and any(folder.glob("*.pt")))


def wrapped_in(needed: Iterable[str], found: Iterable[str]) -> str | None:
    """The wrapper in front of every name found, if the names without it are needed ones; else None."""
    there, wanted = list(found), set(needed)
    for wrapper in WRAPPERS:
        if there and all(name.startswith(wrapper) for name in there) and there[0].removeprefix(wrapper) in wanted:
            return wrapper
    return None


def several(names: Iterable[str], most: int = 4) -> str:
    """The first few names and how many there are."""
    every = list(names)
    return ", ".join(every[:most]) + (f", ... ({len(every)} in all)" if len(every) > most else "")


def near_folders(path: Path) -> str:
    """`` Did you mean ...?`` with folders beside a path that does not exist, whose names are like its own; else nothing."""
    parent = path.expanduser().absolute().parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    beside = [entry.name for entry in parent.iterdir() if entry.is_dir()]
    near = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(str(parent / name) for name in near)}?" if near else ""


def unused_files(folder: Path, unread: Mapping[str, str]) -> tuple[Path, str] | None:
    """The first file in a folder that would be left out, and what to set so that it is used.

    Args:
        folder: The folder.
        unread: Pattern of names that are left out -> what makes them be read.
    """
    return next(((file, remedy) for pattern, remedy in unread.items() for file in sorted(folder.glob(pattern))), None)
