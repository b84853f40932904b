"""Names of RT-1's variables in the official TensorFlow checkpoints, in the order in which an exported policy numbers them.

Keras counts an encoder's layers with weights; ``tf.Module`` lists a policy's variables by attribute name. Both follow from the
network's shape, and the published index files agree with what is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .config import Rt1Config
from .network import Block, Rt1

_ENCODER = "_image_tokenizer/_tokenizer"


@dataclass(frozen=True)
class Variable:
    """One variable of an official checkpoint.

    Attributes:
        official: Its name there.
        ours: The parameter it becomes; None if inference does not use it.
        shape: Its shape there.
    """

    official: str
    ours: str | None
    shape: tuple[int, ...]

    def convert(self, value: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        """From TensorFlow's layout to torch's: output channels first."""
        leaf = self.official.rpartition("/")[2]
        if leaf == "depthwise_kernel":
            return value.transpose(2, 3, 0, 1)
        if leaf == "bias":
            return value.reshape(-1)
        if leaf != "kernel":
            return value
        if "_output_dense" in self.official:
            return value.reshape(-1, value.shape[-1]).T
        return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.reshape(len(value), -1).T


def official_variables(config: Rt1Config) -> list[Variable]:
    """All variables of a network of this shape, in the order of an exported policy."""
    with torch.device("meta"):
        network = Rt1(config)
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    heads = (config.heads, config.key_size)
    variables = []
    for official, name in _names(network):
        if name is None:
            shape = {
                "_action_token_emb/kernel": (config.vocabulary, config.token_size),
                "_action_token_emb/bias": (config.token_size,),
            }.get(official, ())
        else:
            shape = _official_shape(official, ours[name], heads)
        variables.append(Variable(official, name, shape))
    return variables


def _official_shape(official: str, shape: tuple[int, ...], heads: tuple[int, int]) -> tuple[int, ...]:
    leaf = official.rpartition("/")[2]
    if leaf == "depthwise_kernel":
        return (*shape[2:], shape[0], shape[1])
    if any(f"_{part}_dense" in official for part in ("query", "key", "value")):
        return (shape[1], *heads) if leaf == "kernel" else heads
    if "_output_dense/kernel" in official:
        return (*heads, shape[0])
    if leaf != "kernel":
        return shape
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape[::-1]


def _names(network: Rt1) -> Iterator[tuple[str, str | None]]:
    """Official name and ours, for every variable in order."""
    tokenizer = "image_tokenizer"
    yield from (("_action_token_emb/kernel", None), ("_action_token_emb/bias", None))
    yield f"{_ENCODER}/conv1x1/kernel", f"{tokenizer}.to_tokens.weight"
    yield from _encoder(network)
    yield from _film(f"{_ENCODER}/film_layer", f"{tokenizer}.film")
    learner = "_image_tokenizer/_token_learner"
    yield from _dense(f"{learner}/mlp/_hidden_layer", f"{tokenizer}.select_hidden")
    yield from _dense(f"{learner}/mlp/_output_layer", f"{tokenizer}.select")
    yield from _layer_norm(f"{learner}/layernorm", f"{tokenizer}.select_norm")
    for index in range(len(network.layers)):
        official, ours = f"_transformer/_layers/{index}", f"layers.{index}"
        yield from _layer_norm(f"{official}/layernorm1", f"{ours}.norm1")
        for part in ("key", "output", "query", "value"):
            yield from _dense(f"{official}/mha1/_{part}_dense", f"{ours}.{part}")
        yield from _dense(f"{official}/ff", f"{ours}.feed_forward")
        yield from _layer_norm(f"{official}/layernorm2", f"{ours}.norm2")
    yield from _dense("_transformer/_output_tokens", "output")
    yield from _dense("_transformer/_position_emb", "position_embedding")
    yield from _dense("_transformer/_token_emb", "token_embedding")


def _encoder(network: Rt1) -> Iterator[tuple[str, str | None]]:
    """The layers with weights of the EfficientNet, as Keras numbers them."""
    layer = (f"{_ENCODER}/net/layer_with_weights-{index}" for index in range(10_000))
    ours = "image_tokenizer"
    official = next(layer)
    yield from ((f"{official}/{name}", f"{ours}.{name}") for name in ("mean", "variance"))
    yield f"{official}/count", None
    yield f"{next(layer)}/kernel", f"{ours}.stem.weight"
    yield from _norm(next(layer), f"{ours}.stem_norm")
    for index, block in enumerate(network.image_tokenizer.blocks):
        assert isinstance(block, Block)
        prefix = f"{ours}.blocks.{index}"
        if hasattr(block, "expand"):
            yield f"{next(layer)}/kernel", f"{prefix}.expand.weight"
            yield from _norm(next(layer), f"{prefix}.expand_norm")
        yield f"{next(layer)}/depthwise_kernel", f"{prefix}.depthwise.weight"
        yield from _norm(next(layer), f"{prefix}.depthwise_norm")
        yield from _dense(next(layer), f"{prefix}.squeeze")
        yield from _dense(next(layer), f"{prefix}.excite")
        yield f"{next(layer)}/kernel", f"{prefix}.project.weight"
        yield from _norm(next(layer), f"{prefix}.project_norm")
        yield from _film(next(layer), f"{prefix}.film")
    yield f"{next(layer)}/kernel", f"{ours}.top.weight"
    yield from _norm(next(layer), f"{ours}.top_norm")


def _dense(official: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{official}/kernel", f"{ours}.weight"
    yield f"{official}/bias", f"{ours}.bias"


def _layer_norm(official: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{official}/gamma", f"{ours}.weight"
    yield f"{official}/beta", f"{ours}.bias"


def _norm(official: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{official}/moving_mean", f"{ours}.mean"
    yield f"{official}/moving_variance", f"{ours}.variance"
    yield f"{official}/gamma", f"{ours}.gamma"
    yield f"{official}/beta", f"{ours}.beta"


def _film(official: str, ours: str) -> Iterator[tuple[str, str]]:
    yield from _dense(f"{official}/_projection_add", f"{ours}.add")
    yield from _dense(f"{official}/_projection_mult", f"{ours}.mult")
