"""The encoder-decoder Transformer (Vaswani et al., 2017) for sequences of tokens."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..autograd import no_grad
from .positional import sinusoidal_encoding


class TransformerSeq2Seq(nn.Module):
    """Token embeddings, sinusoidal positions, encoder and decoder, linear readout.

    source [N, S] and target [N, T] of int64 -> logits [N, T, target_vocab]. Position t sees target[:, :t + 1] and
    all of source.
    norm_first: layer norm before each block, as in The Little Book of Deep Learning, figure 5.6; False as in the paper.
    """

    encoding: Tensor

    def __init__(
        self, source_vocab: int, target_vocab: int, dim: int = 512, heads: int = 8, layers: int = 6,
        hidden: int = 2048, dropout: float = 0.1, max_length: int = 512, norm_first: bool = True,
        padding: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dim = dim
        self.padding = padding
        self.source_embedding = nn.Embedding(source_vocab, dim, padding)
        self.target_embedding = nn.Embedding(target_vocab, dim, padding)
        self.register_buffer("encoding", sinusoidal_encoding(max_length, dim), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Transformer(
            dim, heads, layers, layers, hidden, dropout, batch_first=True, norm_first=norm_first
        )
        self.readout = nn.Linear(dim, target_vocab)
        for embedding in (self.source_embedding, self.target_embedding):
            nn.init.normal_(embedding.weight, 0.0, dim**-0.5)

    def _embed(self, tokens: Tensor, embedding: nn.Embedding) -> Tensor:
        x = embedding(tokens) * math.sqrt(self.dim)  # [N, T] -> [N, T, D]
        return self.dropout(x + self.encoding[: tokens.shape[1]])  # + [T, D]

    def _is_padding(self, tokens: Tensor) -> Tensor | None:
        return None if self.padding is None else tokens == self.padding  # [N, T]

    def encode(self, source: Tensor) -> Tensor:
        """[N, S] -> [N, S, D]"""
        x = self._embed(source, self.source_embedding)
        return self.transformer.encoder(x, src_key_padding_mask=self._is_padding(source))

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """[N, T], [N, S, D] -> [N, T, target_vocab]"""
        square = _core.ones((target.shape[1], target.shape[1]), dtype=_core.bool_, device=target.device)
        causal = _core.triu(square, 1)  # True: not allowed
        x = self.transformer.decoder(
            self._embed(target, self.target_embedding), memory, tgt_mask=causal, tgt_is_causal=True,
            memory_key_padding_mask=self._is_padding(source),
        )  # fmt: skip
        return self.readout(x)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.decode(target, self.encode(source), source)

    @no_grad()
    def generate(self, source: Tensor, begin: int, end: int, max_length: int) -> Tensor:
        """The most probable token at every step, from `begin` until every row has had `end`.    [N, S] -> [N, T]"""
        memory = self.encode(source)
        tokens = _core.full((source.shape[0], 1), begin, dtype=_core.int64, device=source.device)
        done = tokens[:, 0] != tokens[:, 0]  # [N], all False
        for _ in range(max_length):
            following = self.decode(tokens, memory, source)[:, -1].argmax(-1)  # [N]
            following = _core.where(done, end, following)
            tokens = _core.cat([tokens, following.unsqueeze(1)], 1)
            done = done | (following == end)
            if bool(done.all()):
                break
        return tokens


def transformer(source_vocab: int, target_vocab: int, **options: Any) -> TransformerSeq2Seq:
    """A Transformer from one vocabulary to another."""
    return TransformerSeq2Seq(source_vocab, target_vocab, **options)
