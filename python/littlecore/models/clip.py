"""CLIP (Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021).

Keys are those of Hugging Face's CLIPModel ("text_model.encoder.layers.0.self_attn.q_proj.weight", ...).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F
from ..nn.state import IncompatibleKeys


class Attention(nn.Module):
    """Multi-head self-attention, causal for text.    [N, T, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"clip: width {width} must be divisible by heads {heads}")
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [N, T, D] -> [N, H, T, D/H]
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """[N, T, D] -> [N, T, 4D] -> [N, T, D]; its gelu is x sigmoid(1.702 x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * (1.702 * x).sigmoid())


class EncoderLayer(nn.Module):
    """Attention and MLP, each behind a layer norm and beside a skip connection.    [N, T, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """[N, T, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EncoderLayer(width, heads) for _ in range(layers)])

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        for layer in self.layers:
            x = layer(x, causal)
        return x


class TextEmbeddings(nn.Module):
    """Tokens and their places.    int64 [N, T] -> [N, T, D]"""

    def __init__(self, vocab_size: int, length: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(length, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, tokens: Tensor) -> Tensor:
        length, most = tokens.shape[1], self.position_embedding.weight.shape[0]
        if length > most:
            raise ValueError(f"clip: {length} tokens are more than text_length {most}")
        return self.token_embedding(tokens) + self.position_embedding.weight[:length]


class TextModel(nn.Module):
    """What a causal Transformer has gathered at the first token `end`.    int64 [N, T] -> [N, D]"""

    def __init__(self, vocab_size: int, length: int, width: int, heads: int, layers: int, end: int) -> None:
        super().__init__()
        self.end = end
        self.embeddings = TextEmbeddings(vocab_size, length, width)
        self.encoder = Encoder(width, heads, layers)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.final_layer_norm(self.encoder(self.embeddings(tokens), True))
        last = (tokens == self.end).long().argmax(-1)  # behind it all is padding, which nothing before it can see
        return x[_core.arange(len(tokens), device=x.device), last]


class VisionEmbeddings(nn.Module):
    """A class token, then the patches, with their places.    [N, C, H, W] -> [N, 1 + patches, D]"""

    def __init__(self, image_size: int, patch_size: int, width: int, channels: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(_core.zeros(width))
        self.patch_embedding: nn.Module = nn.Conv2d(channels, width, patch_size, stride=patch_size, bias=False)
        self.position_embedding = nn.Embedding((image_size // patch_size) ** 2 + 1, width)
        nn.init.normal_(self.class_embedding, std=width**-0.5)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)  # [N, C, H, W] -> [N, D, patches] -> [N, patches, D]
        token = self.class_embedding.expand((x.shape[0], 1, -1))
        return _core.cat([token, x], 1) + self.position_embedding.weight


class VisionModel(nn.Module):
    """What a Vision Transformer's class token has gathered.    [N, C, H, W] -> [N, D]"""

    def __init__(self, image_size: int, patch_size: int, width: int, heads: int, layers: int, channels: int) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"clip: image_size {image_size} must be a multiple of patch_size {patch_size}")
        self.embeddings = VisionEmbeddings(image_size, patch_size, width, channels)
        self.pre_layrnorm = nn.LayerNorm(width)  # spelt so in every checkpoint
        self.encoder = Encoder(width, heads, layers)
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.pre_layrnorm(self.embeddings(x)), False)
        return self.post_layernorm(x[:, 0])


class CLIP(nn.Module):
    """Images [N, C, H, W] and texts int64 [M, T] -> how well each image goes with each text, logits [N, M].

    The defaults are ViT-B/32: 151,277,313 parameters. `end` is the token that ends a text.
    """

    def __init__(
        self, embed_dim: int = 512, image_size: int = 224, patch_size: int = 32, vision_width: int = 768,
        vision_heads: int = 12, vision_layers: int = 12, vocab_size: int = 49408, text_length: int = 77,
        text_width: int = 512, text_heads: int = 8, text_layers: int = 12, end: int = 49407, in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.text_model = TextModel(vocab_size, text_length, text_width, text_heads, text_layers, end)
        self.vision_model = VisionModel(image_size, patch_size, vision_width, vision_heads, vision_layers, in_channels)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(_core.tensor(math.log(1 / 0.07)))  # of the inverse temperature

    def encode_image(self, x: Tensor) -> Tensor:
        """Vectors of length 1.    [N, C, H, W] -> [N, embed_dim]"""
        return F.normalize(self.visual_projection(self.vision_model(x)), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Vectors of length 1.    [M, T] -> [M, embed_dim]"""
        return F.normalize(self.text_projection(self.text_model(tokens)), dim=-1)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        return self.logit_scale.exp() * self.encode_image(x) @ self.encode_text(tokens).mT

    @staticmethod
    def loss(logits: Tensor) -> Tensor:
        """Which text belongs to each image, and which image to each text: number i to number i.    [N, N] -> []"""
        own = _core.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


def load_clip(model: CLIP, state_dict: Mapping[str, Any]) -> IncompatibleKeys:
    """Load a checkpoint of Hugging Face's; some carry the numbers 0, 1, 2, ... of the places, which are left out."""
    return model.load_state_dict({k: v for k, v in state_dict.items() if not k.endswith("position_ids")})


def clip(**options: Any) -> CLIP:
    """CLIP; the defaults are ViT-B/32."""
    return CLIP(**options)
