"""Llama (Touvron et al., Llama 2: Open Foundation and Fine-Tuned Chat Models, 2023) and what is built alike.

Root mean square norms (Zhang and Sennrich, NeurIPS 2019), positions as rotations (Su et al., RoFormer, 2021), gated
perceptrons (Shazeer, GLU Variants Improve Transformer, 2020), and queries in groups that share keys and values (Ainslie
et al., GQA, EMNLP 2023). Keys are those of Hugging Face's LlamaForCausalLM
("model.layers.0.self_attn.q_proj.weight", ...).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _core, nn
from .._core import Tensor, from_numpy
from ..data.errors import DataError
from ..data.gguf import GGUF, read_gguf
from ..nn import functional as F
from ..nn.normalization import add_norm
from ..nn.state import IncompatibleKeys, as_tensor
from .generation import Generates
from .gpt import FixedKVCache, KVCache


class Attention(nn.Module):
    """Every position attends to itself and those before it; each of kv_heads serves a group of heads.

    [N, T, C] -> [N, T, C]
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(width, kv_heads * head_dim, bias=False) for _ in range(2))
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: KVCache | None, layer: int) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (heads, -1)).transpose(1, 2)  # [N, T, H D] -> [N, H, T, D]
            for project, heads in (
                (self.q_proj, self.heads),
                (self.k_proj, self.kv_heads),
                (self.v_proj, self.kv_heads),
            )
        )
        q, k = _core.rotary_embedding(q, *turn), _core.rotary_embedding(k, *turn)
        mask, t = None, q.shape[2]
        if cache is not None:
            mask = cache.mask(t)  # [T, S], S tokens so far
            k, v = cache.extend(layer, k, v)  # [N, H, S, D]
        causal = mask is None and t == k.shape[2]
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=self.heads != self.kv_heads)
        return self.o_proj(y.transpose(1, 2).flatten(2))  # [N, H, T, D] -> [N, T, H D] -> [N, T, C]


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x)).    [N, T, C] -> [N, T, C]"""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and MLP, each behind a norm and beside a skip connection.    [N, T, C] -> [N, T, C]"""

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, kv_heads, head_dim)
        self.mlp = MLP(width, hidden)
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width, eps), nn.RMSNorm(width, eps)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: KVCache | None, layer: int) -> Tensor:
        x, y = add_norm(self.input_layernorm, x)
        x, y = add_norm(self.post_attention_layernorm, x, self.self_attn(y, turn, cache, layer))
        return x + self.mlp(y)


class Decoder(nn.Module):
    """int64 [N, T] -> [N, T, C]"""

    def __init__(self, vocab_size: int, width: int, layers: int, eps: float, **options: Any) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList([DecoderLayer(width, eps=eps, **options) for _ in range(layers)])
        self.norm = nn.RMSNorm(width, eps)

    def forward(self, tokens: Tensor, turn: tuple[Tensor, Tensor], cache: KVCache | None) -> Tensor:
        x = self.embed_tokens(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, turn, cache, i)
        return self.norm(x)


class Llama(nn.Module, Generates):
    """Tokens [N, T] of int64 -> logits of the next token [N, T, vocab_size].

    The defaults are Llama 2 7B: 6,738,415,616 parameters. kv_heads defaults to heads, head_dim to width / heads. theta:
    the longest wave of the rotations is about 2 pi theta positions. tie: the readout shares the embedding's weight.
    """

    def __init__(
        self, vocab_size: int = 32000, block_size: int = 4096, width: int = 4096, layers: int = 32, heads: int = 32,
        kv_heads: int | None = None, head_dim: int | None = None, hidden: int = 11008, eps: float = 1e-5,
        theta: float = 1e4, tie: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        kv_heads, head_dim = heads if kv_heads is None else kv_heads, head_dim or width // heads
        if heads % kv_heads or head_dim % 2:
            raise ValueError(
                f"llama: heads {heads} must be divisible by kv_heads {kv_heads}, and head_dim {head_dim} by 2"
            )
        self.block_size, self.sizes = block_size, (layers, kv_heads, head_dim)
        self.model = Decoder(
            vocab_size, width, layers, eps, heads=heads, kv_heads=kv_heads, head_dim=head_dim, hidden=hidden
        )
        self.lm_head = nn.Linear(width, vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        if tie:
            self.lm_head.weight = self.model.embed_tokens.weight
        angle = np.outer(np.arange(block_size), theta ** (-np.arange(0, head_dim, 2) / head_dim))
        self.register_buffer("cos", from_numpy(np.cos(angle)).float(), persistent=False)  # [block_size, head_dim / 2]
        self.register_buffer("sin", from_numpy(np.sin(angle)).float(), persistent=False)

    def make_cache(self, batch: int, fixed: bool = False) -> KVCache:
        """Room for block_size tokens of each of `batch` sequences. fixed: a FixedKVCache."""
        layers, heads, dim = self.sizes
        kind = FixedKVCache if fixed else KVCache
        return kind(layers, batch, heads, self.block_size, dim, self.lm_head.weight)

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the readout sees.    int64 [N, T] -> [N, T, width]"""
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        if end > self.block_size:
            raise ValueError(f"llama: {end} tokens are more than block_size {self.block_size}")
        if isinstance(cache, FixedKVCache):
            at = cache.positions(end - start)
            turn = F.embedding(at, self.cos), F.embedding(at, self.sin)
        else:
            turn = self.cos[start:end], self.sin[start:end]
        x = self.model(tokens, turn, cache)
        if cache is not None:
            cache.advance(end - start)
        return x

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        return self.lm_head(self.features(tokens, cache))


def load_llama(model: Llama, state_dict: Mapping[str, Any]) -> IncompatibleKeys:
    """Load a checkpoint of Hugging Face's; lm_head may be missing where it is the embedding. Some carry the rotations'
    frequencies, which are left out."""
    state = {key: as_tensor(key, value) for key, value in state_dict.items() if not key.endswith("rotary_emb.inv_freq")}
    if "lm_head.weight" not in state and "model.embed_tokens.weight" in state:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    return model.load_state_dict(state)


# ---- GGUF ------------------------------------------------------------------------------------------------------------

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def llama_from_gguf(path: str | os.PathLike[str]) -> Llama:
    """The model of a GGUF file of architecture "llama", its sizes from the metadata, its weights as float32.

    Raises DataError for what read_gguf refuses, another architecture, a missing or unusable key, and rotations that are
    scaled; a tensor that is missing, too many or of the wrong shape is load_state_dict's RuntimeError.
    """
    file = read_gguf(path)
    sizes = _sizes(path, file)
    model = Llama(**sizes, tie="output.weight" not in file.tensors)
    state = {}
    for name, values in file.tensors.items():
        stem, _, ending = name.rpartition(".")
        if name == "rope_freqs.weight":
            raise DataError(path, "the tensor 'rope_freqs.weight' scales the rotations, which this cannot do")
        if stem.startswith("blk."):
            _, number, part = stem.split(".", 2)
            key = f"model.layers.{number}.{_LAYER.get(part, part)}.{ending}"
            heads = {"attn_q": sizes["heads"], "attn_k": sizes["kv_heads"]}.get(part)
            if heads is not None:  # pairs stand side by side in the file, half a head apart here
                apart = values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2)
                values = np.ascontiguousarray(apart).reshape(values.shape)
        else:
            key = f"{_TOP.get(stem, stem)}.{ending}"
        state[key] = values.astype(np.float32)
    load_llama(model, state)
    return model


def _sizes(path: str | os.PathLike[str], file: GGUF) -> dict[str, Any]:
    """Llama's arguments from the metadata."""
    metadata = file.metadata
    if (architecture := metadata.get("general.architecture")) != "llama":
        raise DataError(path, f"general.architecture is {architecture!r}, wanted 'llama'")

    def number(key: str, default: Any = None) -> Any:
        value = metadata.get(f"llama.{key}", default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise DataError(path, f"llama.{key} is {value!r}, wanted a positive number")
        return value

    if metadata.get("llama.rope.scaling.type", "none") != "none":
        raise DataError(path, f"llama.rope.scaling.type is {metadata['llama.rope.scaling.type']!r}, wanted 'none'")
    width, heads = number("embedding_length"), number("attention.head_count")
    head_dim = number("attention.key_length", width // heads)
    if number("rope.dimension_count", head_dim) != head_dim:
        raise DataError(path, f"llama.rope.dimension_count is not the {head_dim} features of a head")
    if "token_embd.weight" not in file.tensors:
        raise DataError(path, "there is no tensor 'token_embd.weight'")
    return {
        "vocab_size": len(file.tensors["token_embd.weight"]), "block_size": number("context_length"), "width": width,
        "layers": number("block_count"), "heads": heads, "kv_heads": number("attention.head_count_kv", heads),
        "head_dim": head_dim, "hidden": number("feed_forward_length"),
        "eps": number("attention.layer_norm_rms_epsilon"), "theta": number("rope.freq_base", 1e4),
    }  # fmt: skip


def llama(**options: Any) -> Llama:
    """A Llama; the defaults are Llama 2 7B."""
    return Llama(**options)
