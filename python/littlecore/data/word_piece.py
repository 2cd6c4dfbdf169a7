"""Word pieces, the tokens of BERT (Wu et al., Google's Neural Machine Translation System, 2016).

A text in small letters and without accents is cut at spaces and signs; every word is then the longest piece of the
vocabulary that it begins with, and so on, where "##" marks a piece that goes on within the word.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .text import Tokens, read_text

# Blocks of Chinese characters: each is a word.
_CHINESE = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def _is_sign(character: str) -> bool:
    """Punctuation, and what ASCII has beside letters, digits and spaces."""
    return ("!" <= character <= "~" and not character.isalnum()) or unicodedata.category(character).startswith("P")


def words(text: str) -> list[str]:
    """In small letters and without accents, each sign and each Chinese character a word of its own."""
    parts = []
    for c in unicodedata.normalize("NFD", text):
        category = unicodedata.category(c)
        if c in "\t\n\r" or category == "Zs":
            parts.append(" ")
        elif category not in ("Cc", "Cf", "Cn", "Co", "Cs", "Mn") and c != "\ufffd":
            alone = _is_sign(c) or any(low <= ord(c) <= high for low, high in _CHINESE)
            parts.append(f" {c} " if alone else c.lower())
    return "".join(parts).split()


class WordPieceTokenizer:
    """Token i is the i-th piece of the vocabulary; encode(text) puts [CLS] in front of a text and [SEP] behind it.

    A word that the vocabulary cannot make, or of more than 100 characters, is one [UNK]. Names of special tokens in a
    text are text.
    """

    level = "word piece"

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = list(vocabulary)
        self._token = {piece: i for i, piece in enumerate(self.vocabulary)}
        for special in ("[UNK]", "[CLS]", "[SEP]"):
            if special not in self._token:
                raise ValueError(f"WordPieceTokenizer: the vocabulary lacks {special}")
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> WordPieceTokenizer:
        """From BERT's vocab.txt, a piece a line."""
        return cls(read_text(Path(path)).rstrip("\n").split("\n"))

    @property
    def vocab_size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str, length: int | None = None) -> Tokens:
        """Tokens int64 [T], at most `length` of them: the last pieces are left out, [SEP] is not."""
        inside = [token for word in words(text) for token in self._pieces(word)]
        first, last = self._token["[CLS]"], self._token["[SEP]"]
        return np.array([first, *inside[: None if length is None else max(length - 2, 0)], last], np.int64)

    def decode(self, tokens: Sequence[int]) -> str:
        """The words, with spaces between them."""
        return " ".join(self.vocabulary[int(token)] for token in tokens).replace(" ##", "")

    def _pieces(self, word: str) -> list[int]:
        if word not in self._known:
            self._known[word] = self._cut(word)
        return self._known[word]

    def _cut(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word) <= 100:
            mark = "##" if start else ""
            end = next((e for e in range(len(word), start, -1) if mark + word[start:e] in self._token), None)
            if end is None:
                break
            found.append(self._token[mark + word[start:end]])
            start = end
        return found if start == len(word) else [self._token["[UNK]"]]
