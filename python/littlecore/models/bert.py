"""BERT (Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019).

Keys are those of Hugging Face's BertModel ("encoder.layer.0.attention.self.query.weight", ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F
from ..nn.linear import linear_activation, linear_residual
from ..nn.state import IncompatibleKeys, as_tensor


class Embeddings(nn.Module):
    """Tokens, their places and the part of the text they stand in.    int64 [N, T] -> [N, T, D]"""

    def __init__(self, vocab_size: int, length: int, parts: int, width: int, eps: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(length, width)
        self.token_type_embeddings = nn.Embedding(parts, width)
        self.LayerNorm = nn.LayerNorm(width, eps)

    def forward(self, tokens: Tensor, parts: Tensor | None) -> Tensor:
        places = self.position_embeddings.weight
        if tokens.shape[1] > places.shape[0]:
            raise ValueError(f"bert: {tokens.shape[1]} tokens are more than length {places.shape[0]}")
        kind = self.token_type_embeddings(_core.zeros_like(tokens) if parts is None else parts)
        return self.LayerNorm(self.word_embeddings(tokens) + kind + places[: tokens.shape[1]])


class SelfAttention(nn.Module):
    """[N, T, D] -> [N, T, D], before the projection"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"bert: width {width} must be divisible by heads {heads}")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [N, T, D] -> [N, H, T, D/H]
            for layer in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A projection beside a skip connection, and the norm of both.    [N, T, inputs], [N, T, D] -> [N, T, D]"""

    def __init__(self, inputs: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(inputs, width), nn.LayerNorm(width, eps)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(linear_residual(self.dense, y, x))


class Layer(nn.Module):
    """Attention and perceptron, each with the norm behind it.    [N, T, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(width, heads), "output": Output(width, width, eps)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = Output(hidden, width, eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(linear_activation(self.intermediate["dense"], F.gelu, x), x)


class BERT(nn.Module):
    """Tokens int64 [N, T] -> what each says in its context [N, T, width], and the whole text [N, width].

    The defaults are BERT base, uncased: 109,482,240 parameters. forward(tokens, mask, parts): mask is bool [N, T], true
    where a token counts (default: all); parts int64 [N, T] says which sentence it stands in (default: 0). What comes
    from a token that does not count means nothing.
    """

    def __init__(
        self, vocab_size: int = 30522, length: int = 512, width: int = 768, layers: int = 12, heads: int = 12,
        hidden: int = 3072, parts: int = 2, eps: float = 1e-12,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings = Embeddings(vocab_size, length, parts, width, eps)
        blocks = [Layer(width, heads, hidden, eps) for _ in range(layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(width, width)})
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, parts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.embeddings(tokens, parts)
        if mask is not None:
            mask = mask.unsqueeze(1).unsqueeze(1)  # [N, T] -> [N, 1, 1, T]
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return x, self.pooler["dense"](x[:, 0]).tanh()


def load_bert(model: BERT, state_dict: Mapping[str, Any]) -> IncompatibleKeys:
    """Load a checkpoint of Hugging Face's: keys may begin with "bert.", readouts for other tasks ("cls.") are left out,
    and old norms have gamma and beta. A checkpoint without a pooler leaves the model's as it is."""
    state = {}
    for key, value in state_dict.items():
        name = key.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if not name.startswith(("cls.", "classifier.")) and not name.endswith("position_ids"):
            state[name] = as_tensor(key, value)
    for name, value in model.pooler.state_dict().items():
        state.setdefault(f"pooler.{name}", value)
    return model.load_state_dict(state)


def bert(**options: Any) -> BERT:
    """BERT; the defaults are BERT base, uncased."""
    return BERT(**options)
