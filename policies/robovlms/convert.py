"""``vla-eval convert robovlms FILE.pt OUT``: a published checkpoint becomes safetensors with all that is needed beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..network.writing import check_free, new_checkpoint
from ..packages import require
from .config import RoboVlmsConfig
from .opening import EXTRA, PACKAGES, find_published, read_pt


def convert(checkpoint: str, out: Path, config: str | None, backbone: str) -> RoboVlmsConfig:
    """Convert a checkpoint; every value stays what it is.

    Args:
        checkpoint: The ``.pt``, see `find_published`.
        out: Folder to write; it appears only when all is well.
        config: Upstream's JSON configuration; None for the one beside the weights.
        backbone: Folder or hub repository of the Kosmos-2 that gives tokenizer and shape.

    Returns:
        What is written to ``config.json``.

    Raises:
        ConfigError: A file is not there, `out` exists, or the network is another one.
        PolicyError: A damaged file, or weights that are missing, left over or of another shape (all are named).
    """
    require(PACKAGES, EXTRA)
    import torch
    from safetensors.torch import save_file

    from ..network.weights import check_shapes
    from .network import UNUSED, RoboVlm

    check_free(out)
    published = find_published(checkpoint, config, backbone)
    described = published.config()
    with torch.device("meta"):
        needed = {name: tuple(tensor.shape) for name, tensor in RoboVlm(described).state_dict().items()}
    source = read_pt(published.weights)
    check_shapes(needed, {name: shape for name, shape in source.shapes.items() if name != UNUSED}, source.where)
    with new_checkpoint(out) as folder:
        save_file({name: tensor.contiguous() for name, tensor in source.read(needed)}, folder / "model.safetensors")
        described.write(folder / "config.json")
        shutil.copyfile(published.tokenizer, folder / "tokenizer.json")
    return described
