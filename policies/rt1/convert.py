"""``vla-eval convert rt1 SAVED_MODEL OUT``: an official TensorFlow checkpoint becomes safetensors and a JSON description.

TensorFlow is not needed. Training checkpoints (``ckpt-N``) name their variables; an exported policy numbers them in the order of
`official_variables`, which is checked by shape and, through the object graph, by name. Nothing is guessed: what is missing, left
over or of another shape is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError, PolicyError
from ..network.writing import check_free, new_checkpoint
from ..packages import require
from .config import Rt1Config
from .policy_specs import FILE_NAME, read_action_parts
from .tf_checkpoint import TensorBundle

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NAMED = "agent/_actor_network/"
_NUMBERED = re.compile(r"model_variables/(\d+)")


def convert(source: Path, out: Path, encoder_width: float = 1.2, encoder_depth: float = 1.4) -> Rt1Config:
    """Convert a checkpoint.

    Args:
        source: Folder of an exported policy (SavedModel) or of a training checkpoint, or a file ``PREFIX.index``.
        out: Folder to write; it appears only when all is well.
        encoder_width: Width coefficient of the EfficientNet.
        encoder_depth: Depth coefficient.

    Returns:
        The network's shape, as written to ``config.json``.

    Raises:
        ConfigError: No checkpoint at `source`, or `out` exists.
        PolicyError: A damaged file, or weights that are missing, left over or of another shape (all are named).
    """
    require(("torch", "safetensors", "google-crc32c"), "rt1")
    from safetensors.numpy import save_file

    from ..network.weights import check_shapes
    from .naming import official_variables

    check_free(out)
    index = _find_index(source)
    bundle = TensorBundle(index)
    start = Rt1Config(encoder_width, encoder_depth, action=read_action_parts(_find_specs(index)))
    config, keys = _named(bundle, start) or _numbered(bundle, start)
    variables = official_variables(config)
    found = {name: bundle.entries[key].shape for name, key in keys.items()}
    check_shapes({variable.official: variable.shape for variable in variables}, found, str(index))
    tensors = {
        variable.ours: np.ascontiguousarray(variable.convert(bundle.read(keys[variable.official]).astype(np.float32)))
        for variable in variables
        if variable.ours is not None
    }
    with new_checkpoint(out) as folder:
        save_file(tensors, folder / "model.safetensors")
        config.write(folder / "config.json")
    return config


def _find_index(source: Path) -> Path:
    if source.suffix == ".index" and source.is_file():
        return source
    exported = source / "variables" / "variables.index"
    training = sorted(source.glob("ckpt-*.index"))
    if len(training) > 1:
        raise ConfigError(f"{source} holds several checkpoints; name one of {', '.join(file.name for file in training)}.")
    for file in (*training, exported):
        if file.is_file():
            return file
    raise ConfigError(f"{source} holds neither ckpt-N.index nor variables/variables.index: no TensorFlow checkpoint there.")


def _find_specs(index: Path) -> Path:
    beside, above = index.parent / FILE_NAME, index.parent.parent / FILE_NAME
    return above if above.is_file() and not beside.is_file() else beside


def _named(bundle: TensorBundle, start: Rt1Config) -> tuple[Rt1Config, dict[str, str]] | None:
    """Shape of the network and official name -> key, for a training checkpoint; None if this is none."""
    keys = {
        key.removeprefix(_NAMED).removesuffix(_SUFFIX): key
        for key in bundle.entries
        if key.startswith(_NAMED) and key.endswith(_SUFFIX) and ".OPTIMIZER_SLOT" not in key
    }
    if not keys:
        return None
    layers = {int(name.split("/")[2]) for name in keys if name.startswith("_transformer/_layers/")}
    names = {
        "embedding": "_transformer/_token_emb/kernel",
        "positions": "_transformer/_position_emb/kernel",
        "output": "_transformer/_output_tokens/kernel",
        "key": "_transformer/_layers/0/mha1/_key_dense/kernel",
    }
    absent = [name for name in names.values() if name not in keys]
    if absent:
        raise PolicyError(f"{bundle.index} is no RT-1: it lacks {', '.join(absent)}.")
    return _shaped(start, len(layers), {part: bundle.entries[keys[name]].shape for part, name in names.items()}, bundle), keys


def _numbered(bundle: TensorBundle, start: Rt1Config) -> tuple[Rt1Config, dict[str, str]]:
    """Shape of the network and official name -> key, for an exported policy, whose variables are numbered in a known order."""
    from .naming import official_variables

    numbers = {int(match[1]): key for key in bundle.entries if (match := _NUMBERED.fullmatch(key.removesuffix(_SUFFIX)))}
    keys = [numbers[number] for number in sorted(numbers)]
    one, two = (len(official_variables(replace(start, layers=layers))) for layers in (1, 2))
    layers, rest = divmod(len(keys) - one, two - one)
    if layers < 0 or rest:
        raise PolicyError(
            f"{bundle.index} holds {len(keys)} variables; an RT-1 with this encoder has {one} and {two - one} for each further "
            "layer. Give --encoder-width and --encoder-depth if it is not EfficientNet-B3."
        )
    # The last six variables are those of output, position and token embedding; before them is the last layer, its keys third.
    tail = {"embedding": -2, "positions": -4, "output": -6, "key": -6 - (two - one) + 2}
    config = _shaped(start, layers + 1, {part: bundle.entries[keys[at]].shape for part, at in tail.items()}, bundle)
    named = dict(zip((variable.official for variable in official_variables(config)), keys, strict=True))
    _check_names(bundle, named)
    return config, named


def _shaped(start: Rt1Config, layers: int, shapes: Mapping[str, tuple[int, ...]], bundle: TensorBundle) -> Rt1Config:
    ranks = {"embedding": 2, "positions": 2, "output": 2, "key": 3}
    if any(len(shapes[part]) != rank for part, rank in ranks.items()) or shapes["positions"][0] % start.frame_tokens:
        raise PolicyError(f"{bundle.index} is no RT-1 of {start.frame_tokens} tokens per frame: shapes {dict(shapes)}.")
    return replace(
        start,
        layers=layers,
        model_size=shapes["embedding"][1],
        token_size=shapes["embedding"][0],
        window=shapes["positions"][0] // start.frame_tokens,
        vocabulary=shapes["output"][1],
        heads=shapes["key"][1],
        key_size=shapes["key"][2],
    )


def _check_names(bundle: TensorBundle, named: Mapping[str, str]) -> None:
    """Variables of equal shape can be told apart by the last part of the name they had in their program alone."""
    programs = bundle.variable_names()
    strangers = [
        f"{key.removesuffix(_SUFFIX)} ({programs[key]}) instead of {name}"
        for name, key in named.items()
        if key in programs and programs[key].rpartition("/")[2] != name.rpartition("/")[2]
    ]
    if strangers:
        raise PolicyError(f"{bundle.index} lists its variables in another order than an RT-1: {', '.join(strangers)}.")
