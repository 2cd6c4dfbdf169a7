"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from .._core import Tensor
from . import functional as F
from . import init
from .linear import Linear, linear_residual
from .module import Module
from .parameter import uninitialized


class MultiheadAttention(Module):
    """Attention of num_heads heads between linear projections of query, key and value.

    query [L, N, E], key [S, N, kdim], value [S, N, vdim] (batch_first: [N, L, E], ...; or without N)
    -> output like query, weights [N, L, S] or None.
    Masks as PyTorch's: True (or -inf) where attention is not allowed; attn_mask [L, S] or [N*num_heads, L, S],
    key_padding_mask [N, S]. Without need_weights the [L, S] matrix is never stored. A residual like the output is added
    to it, on CUDA where the projection ends.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} must be a positive multiple of num_heads {num_heads}")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn

        def parameter(name: str, wanted: bool, *shape: int) -> None:
            self.register_parameter(name, uninitialized(shape, device, dtype) if wanted else None)

        same = self.kdim == self.vdim == embed_dim
        parameter("q_proj_weight", not same, embed_dim, embed_dim)
        parameter("k_proj_weight", not same, embed_dim, self.kdim)
        parameter("v_proj_weight", not same, embed_dim, self.vdim)
        parameter("in_proj_weight", same, 3 * embed_dim, embed_dim)
        parameter("in_proj_bias", bias, 3 * embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        parameter("bias_k", add_bias_kv, 1, 1, embed_dim)
        parameter("bias_v", add_bias_kv, 1, 1, embed_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier uniform projections, zero biases."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False, *, residual: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        batched = query.dim() == 3
        query, key, value = self._batch_first(query, key, value, batched)
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask.unsqueeze(0)

        q, k, v = self._project(query, key, value)  # [N, L, E], [N, S, E], [N, S, E]
        causal = (
            is_causal
            and key_padding_mask is None
            and not need_weights
            and self.bias_k is None
            and not self.add_zero_attn
        )
        mask = None if causal else self._mask(attn_mask, key_padding_mask)
        k, v, mask = self._extra_keys(k, v, mask)
        q, k, v = (self._split(x) for x in (q, k, v))  # [N, H, L, D], [N, H, S, D], [N, H, S, D]

        p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            y, weights = _attention_with_weights(q, k, v, mask, p)
            weights = weights.mean(1) if average_attn_weights else weights  # [N, L, S] or [N, H, L, S]
        else:
            if mask is not None:
                mask = ~mask if mask.dtype is _core.bool_ else mask.to(q.dtype)
            y = F.scaled_dot_product_attention(q, k, v, mask, p, causal)

        n, _, length, _ = y.shape
        y = y.transpose(1, 2).reshape((n, length, self.embed_dim))  # [N, H, L, D] -> [N, L, E]
        if residual is not None:
            residual, *_ = self._batch_first(residual, residual, residual, batched)
        y = linear_residual(self.out_proj, y, residual)
        if not batched:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return (y if self.batch_first else y.transpose(0, 1)), weights

    def _batch_first(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> tuple[Tensor, Tensor, Tensor]:
        """[N, L, E] whatever the layout given; what was one tensor stays one."""
        if batched and self.batch_first:
            return query, key, value
        turned = {id(x): x.transpose(0, 1) if batched else x.unsqueeze(0) for x in (query, key, value)}
        return turned[id(query)], turned[id(key)], turned[id(value)]

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bias = self.in_proj_bias
        if self.in_proj_weight is not None and query is key and key is value:
            q, k, v = F.linear(query, self.in_proj_weight, bias).chunk(3, -1)  # [N, L, 3E]
            return q, k, v
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)  # [3E, E]
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        return q, k, v

    def _split(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        return x.reshape((n, length, self.num_heads, self.head_dim)).transpose(1, 2)  # [N, L, E] -> [N, H, L, D]

    def _mask(self, attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
        """Both masks as one that broadcasts to [N, H, L, S]: boolean (True: not allowed) if all are, else additive."""
        masks = []
        if attn_mask is not None:
            if attn_mask.dim() == 3:
                _, length, source = attn_mask.shape
                attn_mask = attn_mask.reshape((-1, self.num_heads, length, source))  # [N*H, L, S] -> [N, H, L, S]
            masks.append(attn_mask)
        if key_padding_mask is not None:
            n, source = key_padding_mask.shape
            masks.append(key_padding_mask.reshape((n, 1, 1, source)))
        if len(masks) < 2:
            return masks[0] if masks else None
        if all(m.dtype is _core.bool_ for m in masks):
            return masks[0] | masks[1]
        return _additive(masks[0]) + _additive(masks[1])

    def _extra_keys(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append the learned key and value, and the zero ones, where the layer has them."""
        n, _, e = k.shape
        extra = [] if self.bias_k is None else [(self.bias_k.expand((n, 1, e)), self.bias_v.expand((n, 1, e)))]
        if self.add_zero_attn:
            zero = _core.zeros((n, 1, e), dtype=k.dtype, device=k.device)
            extra.append((zero, zero))
        if not extra:
            return k, v, mask
        k = _core.cat([k, *(a for a, _ in extra)], 1)
        v = _core.cat([v, *(b for _, b in extra)], 1)
        if mask is not None:
            open_columns = _core.zeros((*mask.shape[:-1], len(extra)), dtype=mask.dtype, device=mask.device)
            mask = _core.cat([mask, open_columns], -1)
        return k, v, mask


def _additive(mask: Tensor) -> Tensor:
    """0 where allowed, -inf where not."""
    return _core.where(mask, -math.inf, 0.0) if mask.dtype is _core.bool_ else mask


def _attention_with_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(D) + mask) v, and the softmax. A row with nothing allowed is 0."""
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-2, -1)  # [N, H, L, S]
    if mask is None:
        weights = F.softmax(scores, -1)
    else:
        scores = scores + _additive(mask).to(scores.dtype)
        closed = scores.detach().amax(-1, keepdim=True) == -math.inf
        weights = _core.where(closed, 0.0, F.softmax(_core.where(closed, 0.0, scores), -1))
    weights = F.dropout(weights, p) if p > 0 else weights
    return weights @ v, weights
