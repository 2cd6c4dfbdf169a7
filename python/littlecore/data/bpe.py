"""Byte pair encoding (Gage, 1994; Sennrich, Haddow, Birch, ACL 2016): the tokens of GPT, on bytes as in GPT-2."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from .text import Tokens

# Pieces that no merge crosses: words and numbers with the space before them, signs, runs of white space.
_PIECES = re.compile(rb" ?[A-Za-z\x80-\xff]+| ?[0-9]+| ?[^\sA-Za-z0-9\x80-\xff]+|\s+")

Pair = tuple[int, int]


def pieces(content: bytes) -> list[bytes]:
    """`content` cut where no merge may cross."""
    return _PIECES.findall(content)


class BytePairTokenizer:
    """Tokens 0..255 are the bytes; token 256 + i is the i-th of `merges`, the pair that it replaces.

    Every sequence of bytes is encodable, and `decode_bytes(encode_bytes(x)) == x`.
    """

    level = "bpe"

    def __init__(self, merges: Sequence[Pair]) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        self._bytes = [bytes([i]) for i in range(256)]
        for i, (a, b) in enumerate(self.merges):
            if not (0 <= a < 256 + i and 0 <= b < 256 + i):
                raise ValueError(f"BytePairTokenizer: merge {i} is of {(a, b)}, but only tokens below {256 + i} exist")
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._known: dict[bytes, list[int]] = {}

    @classmethod
    def train(cls, text: str | bytes, vocab_size: int) -> BytePairTokenizer:
        """Merge the most frequent pair of neighbouring tokens (of equals, the lowest) until there are `vocab_size`."""
        if vocab_size < 256:
            raise ValueError(f"BytePairTokenizer: vocab_size must be at least 256, the bytes, got {vocab_size}")
        content = text.encode("utf-8") if isinstance(text, str) else text
        counts = Counter(pieces(content))
        words = [list(piece) for piece in counts]
        weights = list(counts.values())
        pairs: Counter[Pair] = Counter()
        places: defaultdict[Pair, set[int]] = defaultdict(set)  # words that hold the pair, or once did
        for i, word in enumerate(words):
            for pair in pairwise(word):
                pairs[pair] += weights[i]
                places[pair].add(i)

        merges: list[Pair] = []
        while len(merges) < vocab_size - 256 and pairs:
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            if pairs[best] < 1:
                break
            for i in places.pop(best):
                old = words[i]
                new = words[i] = merged(old, best, 256 + len(merges))
                for pair in pairwise(old):
                    pairs[pair] -= weights[i]
                for pair in pairwise(new):
                    pairs[pair] += weights[i]
                    places[pair].add(i)
            del pairs[best]
            merges.append(best)
        return cls(merges)

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    def encode_bytes(self, content: bytes) -> Tokens:
        """Tokens int64 of any bytes."""
        return np.array([token for piece in pieces(content) for token in self._encode_piece(piece)], np.int64)

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The bytes of a sequence of tokens."""
        return b"".join(self._bytes[int(token)] for token in tokens)

    def encode(self, text: str) -> Tokens:
        """Tokens int64 of the UTF-8 text."""
        return self.encode_bytes(text.encode("utf-8"))

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of a sequence of tokens; bytes that are not UTF-8 show as U+FFFD."""
        return self.decode_bytes(tokens).decode("utf-8", errors="replace")

    def _encode_piece(self, piece: bytes) -> list[int]:
        """Merge in the order in which training merged."""
        if (known := self._known.get(piece)) is not None:
            return known
        word = list(piece)
        while len(word) > 1:
            first = min(pairwise(word), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if first not in self._rank:
                break
            word = merged(word, first, 256 + self._rank[first])
        if len(self._known) < 1 << 16:
            self._known[piece] = word
        return word


def merged(word: list[int], pair: Pair, token: int) -> list[int]:
    """`word` with every occurrence of `pair`, from the left, replaced by `token`."""
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == pair[0] and word[i + 1] == pair[1]:
            out.append(token)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
