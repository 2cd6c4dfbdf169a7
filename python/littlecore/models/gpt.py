"""GPT-2 (Radford et al., 2019).

Keys are GPT-2's ("transformer.h.0.attn.c_attn.weight", ...). Weights are stored [out, in] as in every Linear;
Hugging Face stores four of them per block the other way round, and `load_gpt2` turns them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F
from ..nn.linear import add_to, feed_forward, linear_residual
from ..nn.normalization import add_norm
from ..nn.state import IncompatibleKeys, as_tensor
from .generation import Generates


class KVCache:
    """Keys and values of the tokens seen so far, per layer, in memory allocated once; dtype and device are like's."""

    def __init__(self, layers: int, batch: int, heads: int, length: int, dim: int, like: Tensor) -> None:
        shape = (batch, heads, length, dim)
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]
        self.capacity = length
        self.length = 0  # tokens held; the model counts it up after all layers have written

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v [N, H, T, D] behind what is there; returns all keys and values so far [N, H, length + T, D]."""
        if _core.recording():
            raise RuntimeError(
                "KVCache: every step makes it longer, which a captured step cannot repeat; use FixedKVCache"
            )
        end = self.length + k.shape[2]
        self.keys[layer][:, :, self.length : end].copy_(k)
        self.values[layer][:, :, self.length : end].copy_(v)
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def positions(self, t: int) -> Tensor:
        """Where the next t tokens stand.    int64 [T]"""
        return _core.arange(self.length, self.length + t, device=self.keys[0].device)

    def mask(self, t: int) -> Tensor | None:
        """What the next t tokens see, where that is neither all nor causal.    bool [T, length + T]"""
        if t == 1 or self.length == 0:
            return None
        seen = _core.ones((t, self.length + t), dtype=_core.bool_, device=self.keys[0].device)
        return _core.tril(seen, self.length)  # token i stands at position length + i

    def advance(self, t: int) -> None:
        """Count t tokens, after all layers have written them."""
        self.length += t


class FixedKVCache(KVCache):
    """For lc.capture, on a GPU: every step does the same. The tokens are counted there, and the attention goes over the
    whole capacity with what is not there yet masked. That there is room is for the caller to see to."""

    def __init__(self, layers: int, batch: int, heads: int, length: int, dim: int, like: Tensor) -> None:
        super().__init__(layers, batch, heads, length, dim, like)
        self.seen = _core.zeros((1,), dtype=_core.int64, device=like.device)
        self._step: tuple[Tensor, Tensor] | None = None  # positions and mask, the same for all layers

    def _now(self, t: int) -> tuple[Tensor, Tensor]:
        if self._step is None:
            at = self.seen + _core.arange(t, device=self.seen.device)  # [T]
            seen = _core.arange(self.capacity, device=self.seen.device) <= at.unsqueeze(1)  # [T, capacity]
            self._step = at, seen
        return self._step

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v [N, H, T, D] behind what is there; returns the whole memory [N, H, capacity, D]."""
        at, _ = self._now(k.shape[2])
        self.keys[layer][:, :, at] = k
        self.values[layer][:, :, at] = v
        return self.keys[layer], self.values[layer]

    def positions(self, t: int) -> Tensor:
        return self._now(t)[0]

    def mask(self, t: int) -> Tensor:
        return self._now(t)[1]

    def advance(self, t: int) -> None:
        self.seen.add_(t)
        self._step = None


class CausalSelfAttention(nn.Module):
    """Every position attends to itself and those before it; plus the residual.    [N, T, C] -> [N, T, C]"""

    def __init__(self, n_embd: int, n_head: int, dropout: float, bias: bool) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"gpt: n_embd {n_embd} must be divisible by n_head {n_head}")
        self.n_head = n_head
        self.dropout = dropout
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.resid_dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, cache: KVCache | None = None, layer: int = 0, residual: Tensor | None = None
    ) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.c_attn(x).split(c, -1)  # [N, T, 3C] -> 3 x [N, T, C]
        heads = (n, t, self.n_head, c // self.n_head)
        q, k, v = (z.reshape(heads).transpose(1, 2) for z in (q, k, v))  # [N, T, C] -> [N, H, T, D]
        mask = None
        if cache is not None:
            mask = cache.mask(t)  # [T, S], S tokens so far
            k, v = cache.extend(layer, k, v)  # [N, H, S, D]
        causal = mask is None and t == k.shape[2]
        y = F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0, causal)
        y = y.transpose(1, 2).reshape((n, t, c))  # [N, H, T, D] -> [N, T, C]
        return linear_residual(self.c_proj, y, residual, self.resid_dropout)


class MLP(nn.Module):
    """[N, T, C] -> [N, T, 4C] -> [N, T, C], plus the residual"""

    def __init__(self, n_embd: int, dropout: float, bias: bool, approximate: str) -> None:
        super().__init__()
        self.c_fc = nn.Linear(n_embd, 4 * n_embd, bias=bias)
        self.gelu = nn.GELU(approximate)
        self.c_proj = nn.Linear(4 * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return feed_forward(x, self.c_fc, self.gelu, self.c_proj, residual, outer=self.dropout)


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a skip connection.    [N, T, C] -> [N, T, C]"""

    def __init__(self, n_embd: int, n_head: int, dropout: float, bias: bool, approximate: str) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd, bias=bias)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout, bias)
        self.ln_2 = nn.LayerNorm(n_embd, bias=bias)
        self.mlp = MLP(n_embd, dropout, bias, approximate)

    def forward(self, x: Tensor, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x, y = add_norm(self.ln_1, x)
        x, y = add_norm(self.ln_2, add_to(x, self.attn, y, cache, layer))
        return add_to(x, self.mlp, y)


class GPT(nn.Module, Generates):
    """Tokens [N, T] of int64 -> logits of the next token [N, T, vocab_size].

    The defaults are GPT-2 small: 124,439,808 parameters, the embedding shared with the readout.
    gelu: "tanh" as GPT-2, or "none".
    """

    def __init__(
        self, vocab_size: int = 50257, block_size: int = 1024, n_layer: int = 12, n_head: int = 12,
        n_embd: int = 768, dropout: float = 0.0, bias: bool = True, gelu: str = "tanh",
    ) -> None:  # fmt: skip
        super().__init__()
        self.vocab_size, self.block_size = vocab_size, block_size
        self.n_layer, self.n_head, self.n_embd = n_layer, n_head, n_embd
        blocks = [Block(n_embd, n_head, dropout, bias, gelu) for _ in range(n_layer)]
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocab_size, n_embd),
            "wpe": nn.Embedding(block_size, n_embd),
            "drop": nn.Dropout(dropout),
            "h": nn.ModuleList(blocks),
            "ln_f": nn.LayerNorm(n_embd, bias=bias),
        })  # fmt: skip
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight  # one tensor, two keys
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal of standard deviation 0.02, divided by sqrt(2 * n_layer) where a block writes to the residual."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, 0.0, 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in self.transformer["h"]:
            for projection in (block.attn.c_proj, block.mlp.c_proj):
                nn.init.normal_(projection.weight, 0.0, 0.02 / math.sqrt(2 * self.n_layer))

    def make_cache(self, batch: int, fixed: bool = False) -> KVCache:
        """Room for block_size tokens of each of `batch` sequences. fixed: a FixedKVCache."""
        weight = self.lm_head.weight
        kind = FixedKVCache if fixed else KVCache
        return kind(self.n_layer, batch, self.n_head, self.block_size, self.n_embd // self.n_head, weight)

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the readout sees.    int64 [N, T] -> [N, T, n_embd]"""
        start = 0 if cache is None else cache.length
        t = tokens.shape[1]
        if start + t > self.block_size:
            raise ValueError(f"gpt: {start + t} tokens are more than block_size {self.block_size}")
        positions = _core.arange(t, device=tokens.device) if cache is None else cache.positions(t)  # [T]
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](positions)  # [N, T, C] + [T, C]
        x = self.transformer["drop"](x)
        for i, block in enumerate(self.transformer["h"]):
            x = block(x, cache, i)
        if cache is not None:
            cache.advance(t)
        return self.transformer["ln_f"](x)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        return self.lm_head(self.features(tokens, cache))  # [N, T, C] -> [N, T, vocab_size]


TURNED = (
    "attn.c_attn.weight",
    "attn.c_proj.weight",
    "mlp.c_fc.weight",
    "mlp.c_proj.weight",
)  # [in, out] at Hugging Face


def load_gpt2(model: GPT, state_dict: Mapping[str, Any]) -> IncompatibleKeys:
    """Load a checkpoint in Hugging Face's layout; keys may lack "transformer.", and lm_head may be missing."""
    converted = {}
    for key, value in state_dict.items():
        if key.endswith((".attn.bias", ".attn.masked_bias")):  # the causal mask, stored as a buffer
            continue
        name = key if key.startswith(("transformer.", "lm_head.")) else f"transformer.{key}"
        tensor = as_tensor(key, value)
        converted[name] = tensor.transpose(0, 1) if name.endswith(TURNED) else tensor
    converted.setdefault("lm_head.weight", converted["transformer.wte.weight"])
    return model.load_state_dict(converted)


SIZES = {  # layers, heads, width
    "gpt2": (12, 12, 768),
    "gpt2-medium": (24, 16, 1024),
    "gpt2-large": (36, 20, 1280),
    "gpt2-xl": (48, 25, 1600),
}


def gpt(size: str | None = None, **options: Any) -> GPT:
    """A GPT of the given options, or one of GPT-2's sizes: gpt2, gpt2-medium, gpt2-large, gpt2-xl."""
    if size is not None:
        layers, heads, width = SIZES[size]
        options = {"n_layer": layers, "n_head": heads, "n_embd": width, **options}
    return GPT(**options)
