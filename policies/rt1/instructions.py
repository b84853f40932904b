"""From an instruction to the vector an RT-1 is conditioned on.

The published policies were trained on the Universal Sentence Encoder (large, version 5), which is a TensorFlow model. It can be
used as it is, or replaced by a file of its embeddings, or by any function.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._registry import did_you_mean, import_target
from ...edges.arrays import finite, read_arrays
from ...edges.files import FileKind
from ...errors import ConfigError, PolicyError
from ..network.checkpoints import file_sha256
from ..packages import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32Array = NDArray[np.float32]

_EMBEDDINGS_FILE = FileKind("a file of embeddings", ConfigError, "policy.instruction_encoder takes one array per instruction.")
UNIVERSAL_SENTENCE_ENCODER = "https://tfhub.dev/google/universal-sentence-encoder-large/5"


def make_encoder(setting: str, size: int) -> Callable[[str], Float32Array]:
    """The encoder a setting names.

    Args:
        setting: ``use`` (Universal Sentence Encoder), a file ``.npz`` with one array per instruction, or ``package.module:name``.
        size: Entries of an embedding.

    Returns:
        A function from an instruction to float32[size]; each instruction is encoded once.

    Raises:
        ConfigError: The setting names nothing.
        DependencyError: The Universal Sentence Encoder's packages are missing.
    """
    encode: Callable[[str], Any]
    if setting == "use":
        encode = _universal_sentence_encoder()
    elif setting.endswith(".npz"):
        encode = _file_of_embeddings(Path(setting).expanduser())
    elif ":" in setting:
        try:
            encode = import_target(setting)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"policy.instruction_encoder={setting} cannot be imported: {error}.") from error
    else:
        raise ConfigError(f"policy.instruction_encoder must be use, FILE.npz or package.module:function; got {setting!r}.")

    @lru_cache(maxsize=4096)
    def checked(instruction: str) -> Float32Array:
        if not instruction.strip():
            raise PolicyError("the instruction is empty: a language-conditioned policy has nothing to act on.")
        embedding = np.asarray(encode(instruction), np.float32)
        if embedding.shape != (size,) or not np.isfinite(embedding).all():
            raise PolicyError(
                f"policy.instruction_encoder={setting} gives {list(embedding.shape)} for {instruction!r}; "
                f"{size} finite numbers are needed."
            )
        return embedding

    return checked


def describe_encoder(setting: str) -> dict[str, str | None]:
    """What embeddings depend on, as plain JSON values: the setting, and a hash of the file it names, of embeddings or of code."""
    file: Path | None = None
    if setting.endswith(".npz"):
        file = Path(setting).expanduser()
    elif ":" in setting:
        source = inspect.getsourcefile(importlib.import_module(setting.partition(":")[0]))
        file = Path(source) if source else None
    return {
        "instruction_encoder": UNIVERSAL_SENTENCE_ENCODER if setting == "use" else setting,
        "instruction_encoder_sha256": file_sha256(file) if file else None,
    }


def _file_of_embeddings(file: Path) -> Callable[[str], Any]:
    embeddings = read_arrays(file, _EMBEDDINGS_FILE)
    for name, embedding in embeddings.items():
        finite(file, _EMBEDDINGS_FILE, name, embedding, 1)

    def look_up(instruction: str) -> Any:
        if instruction not in embeddings:
            near = did_you_mean(instruction, embeddings)
            raise PolicyError(f"{file} has no embedding of {instruction!r} (it has {len(embeddings)}).{near}")
        return embeddings[instruction]

    return look_up


def _universal_sentence_encoder() -> Callable[[str], Any]:
    require(("tensorflow", "tensorflow_hub"), "rt1-use")
    model = importlib.import_module("tensorflow_hub").load(UNIVERSAL_SENTENCE_ENCODER)
    return lambda instruction: np.asarray(model([instruction])[0])
