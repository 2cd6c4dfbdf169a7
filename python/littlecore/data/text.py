"""Text as tokens: characters or bytes, and windows of them for a language model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .counter_random import SampleRandom
from .dataset import Batch, Dataset
from .errors import DataError

Tokens = npt.NDArray[np.int64]


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file. DataError names the byte that is not UTF-8, or a folder."""
    if Path(path).is_dir():
        raise DataError(path, "is a folder, not a text file")
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"not UTF-8 text ({error.reason})", error.start) from None


class CharTokenizer:
    """One token per character of an alphabet. Token i is the i-th character of `alphabet`."""

    level = "char"

    def __init__(self, alphabet: str) -> None:
        if len(set(alphabet)) != len(alphabet) or not alphabet:
            raise ValueError("CharTokenizer: the alphabet must hold each character once, and at least one")
        self.alphabet = alphabet
        self._token = {character: i for i, character in enumerate(alphabet)}

    @classmethod
    def of(cls, text: str) -> CharTokenizer:
        """The alphabet of `text`, in code point order."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        return len(self.alphabet)

    def encode(self, text: str) -> Tokens:
        """Tokens int64 [len(text)]. ValueError names the first character that the alphabet lacks."""
        try:
            return np.fromiter((self._token[c] for c in text), np.int64, len(text))
        except KeyError as error:
            (character,) = error.args
            raise ValueError(
                f"character {character!r} at position {text.index(character)} is not in the model's alphabet "
                f"of {self.vocab_size}"
            ) from None

    def decode(self, tokens: Any) -> str:
        """The text of a sequence of tokens."""
        return "".join(self.alphabet[int(t)] for t in tokens)


class ByteTokenizer:
    """One token per byte of the UTF-8 text: 256 tokens, every text is encodable."""

    level = "byte"
    vocab_size = 256

    def encode(self, text: str) -> Tokens:
        """Tokens int64 [number of UTF-8 bytes]."""
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64)

    def decode(self, tokens: Any) -> str:
        """The text of a sequence of bytes; bytes that are not UTF-8 show as U+FFFD."""
        return bytes(int(t) for t in tokens).decode("utf-8", errors="replace")


class TextWindows(Dataset):
    """Windows of `length` tokens with the same windows one token later as targets: two int64 [length].

    Without `samples`: the consecutive windows, (len(tokens) - 1) // length of them, each token a target once.
    With `samples`: that many windows an epoch, each at a random place that is new in every epoch.
    """

    def __init__(self, tokens: Tokens, length: int, samples: int | None = None) -> None:
        if length < 1 or len(tokens) <= length:
            raise ValueError(f"TextWindows: {len(tokens)} tokens hold no window of {length} with its targets")
        self.tokens, self.length, self.samples = np.asarray(tokens), length, samples

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length if self.samples is None else self.samples

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Window `index`, as epoch 0 of seed 0 shows it where places are random."""
        row = np.array([range(len(self))[index]])
        return tuple(field[0] for field in self.batch(row, SampleRandom(0, 0, row)))

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        if self.samples is None:
            start = np.asarray(indices, np.int64) * self.length
        else:
            start = random.integers(0, len(self.tokens) - self.length)
        window = self.tokens[start[:, None] + np.arange(self.length + 1)].astype(np.int64)
        return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])
