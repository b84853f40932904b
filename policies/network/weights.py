"""Getting weights from files into modules: every name and shape is checked before a byte is read, and none is copied twice.

A module is built on torch's meta device, which holds no data; its parameters are then replaced one by one by what the files hold.
Files are untrusted: safetensors hold nothing but numbers, and a ``.pt`` is opened with ``weights_only=True`` and nothing else.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError, safe_open

from ..._stages import stage
from ...errors import ConfigError, PolicyError
from .json_files import read_json
from .layouts import other_layout, several, wrapped_in
from .packing import pack, packed_names

# A mapped file's pages count as this process's memory for as long as the mapping lives, so it is renewed after this many bytes.
_MAPPED_BYTES = 16 * 1024**2
_RANDOM_STD = 0.02
_ZERO = ("bias", "beta", "mean")  # ends of the names of parameters that are added or subtracted


class _Index(Struct):
    weight_map: Annotated[dict[str, Annotated[str, Meta(min_length=1, max_length=250)]], Meta(min_length=1)]


class WeightSource(Protocol):
    """Named tensors whose shapes are known before they are read."""

    @property
    def where(self) -> str:
        """What a message calls it."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor by name."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """The named tensors, one after the other."""


class SafetensorsFolder:
    """The tensors of ``model.safetensors``, or of the shards that ``model.safetensors.index.json`` lists.

    Args:
        folder: Holds the files.

    Raises:
        PolicyError: No weights there, a shard is missing, or a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file_of: dict[str, Path] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for file in self._files():
            with open_safetensors(file) as opened:
                for name in opened.keys():  # noqa: SIM118 (not a mapping)
                    self._file_of[name] = file
                    self._shapes[name] = tuple(opened.get_slice(name).get_shape())

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor by name."""
        return self._shapes

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """The named tensors, file by file; each is a view of the mapped file."""
        wanted: dict[Path, list[str]] = {}
        for name in names:
            wanted.setdefault(self._file_of[name], []).append(name)
        for number, (file, inside) in enumerate(wanted.items(), 1):
            stage(f"loading {file.name} ({number} of {len(wanted)})")
            waiting = deque(inside)
            while waiting:
                mapped = 0
                with open_safetensors(file) as opened:
                    while waiting and mapped < _MAPPED_BYTES:
                        name = waiting.popleft()
                        tensor: torch.Tensor = opened.get_tensor(name)
                        mapped += tensor.numel() * tensor.element_size()
                        yield name, tensor
                        del tensor

    def _files(self) -> list[Path]:
        index, single = self._folder / "model.safetensors.index.json", self._folder / "model.safetensors"
        if index.is_file():
            shards = sorted(set(read_json(index, _Index)["weight_map"].values()))
            files = [self._folder / shard for shard in shards]
            for file in files:
                if file.parent != self._folder or not file.is_file():
                    raise PolicyError(f"{index} lists {file.name!r}, which is not in {self._folder}; fetch the checkpoint again.")
            return files
        if single.is_file():
            return [single]
        if explained := other_layout(self._folder):
            raise ConfigError(explained)
        raise PolicyError(f"{self._folder} holds neither model.safetensors nor model.safetensors.index.json: no weights to load.")


class StateDict:
    """Tensors that are in memory already.

    Args:
        tensors: By name.
        where: What a message calls them.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], where: str) -> None:
        self._tensors = dict(tensors)
        self._where = where

    @property
    def where(self) -> str:
        """What a message calls them."""
        return self._where

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor by name."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """The named tensors."""
        for name in names:
            yield name, self._tensors[name]


class RandomSource:
    """Weights drawn anew, the same for the same name: normalisation layers do nothing, everything else is small.

    Args:
        module: On the meta device; its state dict says what is needed.
        device: Where to draw.
        dtype: Of what is drawn.
        where: What a message calls it.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device, dtype: torch.dtype, where: str) -> None:
        self._shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        self._device, self._dtype, self._where = device, dtype, where

    @property
    def where(self) -> str:
        """What a message calls it."""
        return self._where

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor by name."""
        return self._shapes

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        """The named tensors."""
        generator = torch.Generator(self._device)
        for name in names:
            yield name, self._draw(name, generator)

    def _draw(self, name: str, generator: torch.Generator) -> torch.Tensor:
        tensor = torch.empty(self._shapes[name], dtype=self._dtype, device=self._device)
        if tensor.ndim == 1:
            return tensor.fill_(0.0 if name.endswith(_ZERO) else 1.0)
        generator.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little"))
        return tensor.normal_(std=_RANDOM_STD, generator=generator)


def fill(
    module: torch.nn.Module,
    source: WeightSource,
    *,
    dtype: torch.dtype,
    device: torch.device,
    unused: Callable[[str], bool] = lambda name: False,
) -> None:
    """Put a source's tensors into a module that was built on the meta device, and make it ready for inference.

    Args:
        module: Its state dict names what is needed.
        source: Must have exactly these names and shapes, apart from `unused` ones.
        dtype: The parameters' after loading.
        device: Likewise.
        unused: True for names that a source of this kind has and inference does not need.

    Raises:
        PolicyError: Names the first weights that are missing, left over or of another shape.
    """
    needed = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_shapes(needed, {name: shape for name, shape in source.shapes.items() if name in needed or not unused(name)}, source.where)
    packed = packed_names(module)
    tensors = {}
    # The largest first: each leaves room that the next one fits in, and nothing large is in memory twice beside all the rest.
    for name, tensor in source.read(sorted(needed, key=lambda name: -math.prod(needed[name]))):
        if name in packed:
            tensors[name] = pack(tensor.to(device=device, dtype=dtype))
        else:
            # A view would keep pages of a mapped file in memory beside the packed copies of their neighbours.
            tensors[name] = tensor.to(device=device, dtype=dtype, copy=bool(packed))
        del tensor
    module.load_state_dict(tensors, strict=True, assign=True)
    module.requires_grad_(False).eval()


def check_shapes(needed: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compare the weights a network needs with those a source has.

    Raises:
        PolicyError: Names the first that are missing, left over or of another shape, and says how many there are.
    """
    if wrapper := wrapped_in(needed, found):
        raise PolicyError(
            f"every weight in {where} is called {wrapper}NAME: what was saved is a wrapper around the network. Save the network "
            "inside it (for training in parallel, model.module) and give that folder."
        )
    wrong = {name: shape for name, shape in found.items() if name in needed and needed[name] != shape}
    problems = [
        f"{title} ({len(entries)}): {several(entries)}"
        for title, entries in (
            ("missing", sorted(needed.keys() - found.keys())),
            ("not part of the network", sorted(found.keys() - needed.keys())),
            ("of another shape", [f"{name} {list(shape)}, not {list(needed[name])}" for name, shape in sorted(wrong.items())]),
        )
        if entries
    ]
    if problems:
        raise PolicyError(f"the weights in {where} do not fit the network the settings describe. " + "; ".join(problems) + ".")


def load_pt(file: Path, inside: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """The state dict in a ``.pt`` file; nothing in the file is executed.

    Args:
        file: As `torch.save` wrote it.
        inside: Names under which a training checkpoint may keep its state dict beside other things; empty where the file is one.

    Raises:
        PolicyError: The file is damaged, or holds anything but named tensors.
    """
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors here; each means the same to the user.
        raise PolicyError(
            f"{file} cannot be loaded as plain weights ({_reason(error)}). It is damaged, or it holds Python objects, which vlagym "
            "does not execute; save the state dict alone with torch.save(module.state_dict(), file)."
        ) from error
    if inside and isinstance(loaded, Mapping):
        loaded = next((loaded[name] for name in inside if name in loaded), None)
        if loaded is None:
            raise PolicyError(f"{file} is not a training checkpoint of this kind: it holds no {' and no '.join(inside)}.")
    if not isinstance(loaded, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise PolicyError(f"{file} must hold a state dict (names and tensors); got {type(loaded).__name__}.")
    return {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}


def _reason(error: Exception) -> str:
    """The sentence of torch's message that says what is wrong; its first, where it refuses, is advice to execute the file."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    refused = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (refused or lines or [type(error).__name__])[0].partition(". ")[0].rstrip(".")


def open_safetensors(file: Path) -> Any:
    """The file, open for reading tensor by tensor.

    Raises:
        PolicyError: It is damaged.
    """
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise PolicyError(f"{file} is damaged or cut short ({error}); fetch the checkpoint again.") from error
