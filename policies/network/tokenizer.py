"""Sentences to token ids, by the tokenizer of a checkpoint or, for random weights, by something that stands in for it."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from ...errors import PolicyError


class FileTokenizer:
    """A checkpoint's own tokenizer, straight from its ``tokenizer.json``; it adds the special tokens that the file says.

    Args:
        file: ``tokenizer.json``.
        max_length: Longest result; what is beyond is cut off before the closing special token. None for any length.

    Raises:
        PolicyError: The file is missing or damaged.
    """

    def __init__(self, file: Path, max_length: int | None = None) -> None:
        from tokenizers import Tokenizer

        if not file.is_file():
            raise PolicyError(f"{file.name} is missing in {file.parent}; a complete checkpoint has it.")
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the Rust library raises plain Exception
            raise PolicyError(f"{file} is not a tokenizer ({error}); fetch the checkpoint again.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if max_length is not None:
            self._tokenizer.enable_truncation(max_length)
        self._encode = lru_cache(maxsize=4096)(self._encode_once)

    def __call__(self, text: str) -> tuple[int, ...]:
        """Token ids of a text."""
        return self._encode(text)

    def _encode_once(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text).ids)


def stand_in_ids(text: str, first: int, end: int) -> tuple[int, ...]:
    """Token ids from first to end - 1 in place of a tokenizer's: one per word, as many as a tokenizer's would roughly be."""
    words = re.findall(r"\w+|[^\w\s]|\n", text)
    return tuple(first + int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little") % (end - first) for word in words)
