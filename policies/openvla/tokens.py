"""Instructions to token ids and token ids to actions.

Source: the prompt builders and ``predict_action`` of openvla/openvla c8f03f48, and its ActionTokenizer (prismatic/vla/). Token
29871 is Llama 2's empty word: upstream's prompts end in it, as they did in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import ConfigError, PolicyError
from ..network.tokenizer import FileTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOS_ID = 1
EOS_ID = 2
EMPTY_WORD_ID = 29871

PROMPTS = {
    "openvla": "In: What action should the robot take to {instruction}?\nOut:",
    "openvla-v01": (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. "
        "USER: What action should the robot take to {instruction}? ASSISTANT:"
    ),
}


def build_prompt(instruction: str, style: str = "openvla") -> str:
    """The sentence a checkpoint was trained on.

    Args:
        instruction: What to do; upper case is lowered, as in training.
        style: A name in `PROMPTS`.

    Raises:
        PolicyError: The instruction is empty.
        ConfigError: Unknown style.
    """
    if not instruction.strip():
        raise PolicyError("the instruction is empty: a language-conditioned policy has nothing to act on.")
    if style not in PROMPTS:
        raise ConfigError(f"unknown prompt style {style!r}; known: {', '.join(PROMPTS)}.")
    return PROMPTS[style].format(instruction=instruction.lower())


class PromptEncoder(Protocol):
    """Anything that turns a prompt into token ids that start with `BOS_ID`."""

    def __call__(self, prompt: str) -> tuple[int, ...]:
        """Token ids of the prompt, ready for the network."""


class PromptTokenizer:
    """The tokenizer of a checkpoint, and the empty word at the end where the prompt does not end in it.

    Args:
        file: ``tokenizer.json``.

    Raises:
        PolicyError: The file is missing or damaged.
    """

    def __init__(self, file: Path) -> None:
        self._encode = FileTokenizer(file)

    def __call__(self, prompt: str) -> tuple[int, ...]:
        """Token ids, with ``<s>`` first and the empty word last."""
        ids = self._encode(prompt)
        return ids if ids[-1] == EMPTY_WORD_ID else (*ids, EMPTY_WORD_ID)


class ActionTokenizer:
    """Action tokens are the last ids of the vocabulary, one per bin of [-1, 1], counting down.

    Args:
        first_text_id: Vocabulary size without padding.
        bins: Number of bin edges.
    """

    def __init__(self, first_text_id: int, bins: int) -> None:
        self.first_text_id = first_text_id
        self.bins = bins
        edges = np.linspace(-1, 1, bins)
        self._centres = (edges[:-1] + edges[1:]) / 2.0
        self._edges = edges

    @property
    def ids(self) -> range:
        """The ids of all action tokens."""
        return range(self.first_text_id - self.bins, self.first_text_id)

    def encode(self, actions: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """float[...] in [-1, 1] (clipped) -> ids int64[...]."""
        return self.first_text_id - np.digitize(np.clip(actions, -1, 1), self._edges).astype(np.int64)

    def decode(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Ids int64[...] -> centres of their bins float64[...]; any other id is the nearest end of the range."""
        return self._centres[np.clip(self.first_text_id - ids - 1, 0, len(self._centres) - 1)]
