"""The small network in NumPy, so that it runs where nothing but vlagym is installed: one observation at a time, a millisecond each.

Two images go through FiLM-conditioned convolutions (arXiv:1709.07871), each channel is reduced to the place of its centre of mass
(arXiv:1504.00702), and two hidden layers turn places, state and sentence into a chunk of actions (as in arXiv:2304.13705, without a
transformer). It was trained by examples/train_small_policy, whose network is the same in torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...errors import PolicyError

Floats: TypeAlias = NDArray[np.float32]
STRIDES = (4, 1)  # of the convolutions
ACTION_SIZE = 7
_MAX_BYTES = 64 * 1024**2


class SmallConfig(Struct, frozen=True):
    """What a checkpoint says besides its weights.

    Attributes:
        words: Those it knows; others are left out of a sentence.
        chunk: Actions of a chunk.
        steps: Of its training.
        seed: Of its training.
        moments: Of the demonstrations that it was trained on.
    """

    words: Annotated[list[str], Meta(min_length=1)]
    chunk: Annotated[int, Meta(ge=1, le=10_000)]
    steps: int
    seed: int
    moments: int


class SmallNetwork:
    """A trained network.

    Args:
        config: What its checkpoint says.
        weights: Arrays by name, float32.
    """

    def __init__(self, config: SmallConfig, weights: Mapping[str, Floats]) -> None:
        self.config = config
        self._weights = dict(weights)

    @property
    def state_size(self) -> int:
        """Entries of a state, after the recipe's transforms."""
        return len(self._weights["state_mean"])

    @property
    def cameras(self) -> int:
        """Images that it sees."""
        return sum(name.startswith("eyes.") and name.endswith(".film.weight") for name in self._weights)

    def sentence(self, instruction: str) -> Floats:
        """The instruction as float32[words]: each known word's share of it.

        Raises:
            PolicyError: It knows none of the words.
        """
        said = instruction.lower().split()
        counts = np.array([said.count(word) for word in self.config.words], np.float32)
        if not counts.any():
            raise PolicyError(f"policy 'small' knows no word of {instruction!r}; it learned: {', '.join(self.config.words)}.")
        shares: Floats = counts / counts.sum()
        return shares

    def __call__(self, images: Sequence[NDArray[np.uint8]], state: NDArray[np.floating[Any]], instruction: str) -> Floats:
        """The chunk of an observation.

        Args:
            images: One uint8[H, W, 3] per camera.
            state: float[S].
            instruction: The sentence.

        Returns:
            float32[T, 7]: the pose entries of each action as the controller takes them, and the probability of an open gripper.
        """
        sentence = self._weights["embedding.weight"] @ self.sentence(instruction)
        seen = [self._places(camera, image, sentence) for camera, image in enumerate(images)]
        felt = (state.astype(np.float32) - self._weights["state_mean"]) / self._weights["state_std"]
        hidden = np.maximum(self._linear("first", np.concatenate([*seen, felt, sentence])), 0)
        hidden = np.maximum(self._linear("second", hidden), 0)
        chunk = self._linear("head", hidden).reshape(self.config.chunk, ACTION_SIZE)
        with np.errstate(over="ignore"):  # beyond float32 the probability is 0 all the same
            chunk[:, -1] = 1 / (1 + np.exp(-chunk[:, -1]))
        return chunk

    def _places(self, camera: int, image: NDArray[np.uint8], sentence: Floats) -> Floats:
        """Where each channel's features are, float32[2 * channels], across and down in [-1, 1]."""
        features = image.astype(np.float32) / np.float32(127.5) - 1
        for number, stride in enumerate(STRIDES):
            features = self._convolved(f"eyes.{camera}.convolutions.{number}", features, stride)
            if number == len(STRIDES) - 2:
                scale, shift = np.split(self._linear(f"eyes.{camera}.film", sentence), 2)
                features = features * (1 + scale) + shift
            if number < len(STRIDES) - 1:
                features = np.maximum(features, 0)
        height, width, channels = features.shape
        heat = np.exp(features - features.max((0, 1)))
        share = heat.reshape(-1, channels) / heat.sum((0, 1))
        across = np.tile(np.linspace(-1, 1, width, dtype=np.float32), height)
        down = np.repeat(np.linspace(-1, 1, height, dtype=np.float32), width)
        return np.concatenate([across @ share, down @ share])

    def _convolved(self, name: str, features: Floats, stride: int) -> Floats:
        """float32[H, W, C] -> float32[H', W', C'], zeros around it."""
        weight = self._weights[f"{name}.weight"]  # float32[C', C, k, k]
        size = weight.shape[-1]
        padded = np.pad(features, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
        windows: Floats = sliding_window_view(padded, (size, size), (0, 1))[::stride, ::stride]  # type: ignore[call-overload]
        flat = windows.reshape(-1, weight[0].size) @ weight.reshape(len(weight), -1).T
        convolved: Floats = flat.reshape(*windows.shape[:2], len(weight)) + self._weights[f"{name}.bias"]
        return convolved

    def _linear(self, name: str, vector: Floats) -> Floats:
        applied: Floats = self._weights[f"{name}.weight"] @ vector + self._weights[f"{name}.bias"]
        return applied


def read_checkpoint(file: Path) -> SmallNetwork:
    """The network of a ``.npz`` file: arrays alone, no pickled objects.

    Raises:
        PolicyError: It is not a checkpoint of this network.
    """
    remedy = "Fetch it again, or train it anew (examples/train_small_policy)."
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                raise PolicyError(f"{file} is larger than any checkpoint of policy 'small'. {remedy}")
        with np.load(file, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        config = msgspec.json.decode(str(weights.pop("config")), type=SmallConfig)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise PolicyError(f"{file} is not a checkpoint of policy 'small' ({error}). {remedy}") from error
    network = SmallNetwork(config, weights)
    _check(network, weights, file, remedy)
    return network


def _check(network: SmallNetwork, weights: Mapping[str, Any], file: Path, remedy: str) -> None:
    """Shapes that do not fit would show as a traceback at the first observation."""
    try:
        dtypes = {array.dtype.name for array in weights.values()}
        state = np.zeros(network.state_size, np.float32)
        chunk = network([np.zeros((16, 16, 3), np.uint8)] * network.cameras, state, network.config.words[0])
    except (KeyError, ValueError, IndexError) as error:
        raise PolicyError(f"{file} is not a checkpoint of policy 'small' ({error}). {remedy}") from error
    if dtypes != {"float32"} or not np.isfinite(chunk).all():
        raise PolicyError(f"{file} is not a checkpoint of policy 'small': its weights are {', '.join(sorted(dtypes))}. {remedy}")
