"""Vision Transformer (Dosovitskiy et al., 2020), with torchvision's keys."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn.linear import feed_forward, is_plain
from ..nn.normalization import add_norm


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and feed-forward, with residuals.    [N, T, D] -> [N, T, D]"""

    def __init__(self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(hidden_dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_dim, mlp_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_dim, hidden_dim),
            nn.Dropout(dropout),
        )
        for i in (0, 3):
            nn.init.xavier_uniform_(self.mlp[i].weight)
            nn.init.normal_(self.mlp[i].bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x, y = add_norm(self.ln_1, x)
        y, _ = self.self_attention(y, y, y, need_weights=False)
        x, y = add_norm(self.ln_2, x, self.dropout(y))
        if not is_plain(self.mlp):
            return x + self.mlp(y)
        first, activation, inner, second, outer = self.mlp
        return feed_forward(y, first, activation, second, x, inner, outer)


class Encoder(nn.Module):
    """Learned positions, blocks, a last norm.    [N, T, D] -> [N, T, D]"""

    def __init__(
        self, seq_length: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float,
        attention_dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pos_embedding = nn.Parameter(_core.empty((1, seq_length, hidden_dim)))
        nn.init.normal_(self.pos_embedding, std=0.02)
        self.dropout = nn.Dropout(dropout)
        blocks = {
            f"encoder_layer_{i}": EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
            for i in range(num_layers)
        }
        self.layers = nn.Sequential(blocks)
        self.ln = nn.LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Patches to tokens, a class token in front, a Transformer encoder, and a readout of the class token.

    [N, in_channels, image_size, image_size] -> [N, num_classes]. readout: "linear", or "mlp" for the two hidden
    layers with GELU of The Little Book of Deep Learning, section 5.3. The defaults are ViT-B/16: 86,567,656 parameters.
    """

    def __init__(
        self, image_size: int = 224, patch_size: int = 16, num_layers: int = 12, num_heads: int = 12,
        hidden_dim: int = 768, mlp_dim: int = 3072, dropout: float = 0.0, attention_dropout: float = 0.0,
        num_classes: int = 1000, in_channels: int = 3, readout: str = "linear",
    ) -> None:  # fmt: skip
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"image_size {image_size} must be a multiple of patch_size {patch_size}")
        if readout not in ("linear", "mlp"):
            raise ValueError(f"readout must be 'linear' or 'mlp', got {readout!r}")
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.conv_proj = nn.Conv2d(in_channels, hidden_dim, kernel_size=patch_size, stride=patch_size)
        self.class_token = nn.Parameter(_core.zeros((1, 1, hidden_dim)))
        tokens = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(tokens, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        if readout == "linear":
            self.heads = nn.Sequential({"head": nn.Linear(hidden_dim, num_classes)})
            nn.init.zeros_(self.heads[0].weight)
            nn.init.zeros_(self.heads[0].bias)
        else:
            self.heads = nn.Sequential(
                nn.Linear(hidden_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, hidden_dim), nn.GELU(),
                nn.Linear(hidden_dim, num_classes),
            )  # fmt: skip
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (in_channels * patch_size**2)))
        nn.init.zeros_(self.conv_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (self.image_size, self.image_size):
            raise ValueError(f"vit: images are {tuple(x.shape[-2:])}, expected {(self.image_size, self.image_size)}")
        x = self.conv_proj(x)  # [N, C, H, W] -> [N, D, H/P, W/P]
        x = x.flatten(2).transpose(1, 2)  # -> [N, D, T-1] -> [N, T-1, D]
        token = self.class_token.expand((x.shape[0], -1, -1))  # [1, 1, D] -> [N, 1, D]
        x = _core.cat([token, x], 1)  # -> [N, T, D]
        x = self.encoder(x)
        return self.heads(x[:, 0])  # [N, D] -> [N, num_classes]


def vit(**options: Any) -> VisionTransformer:
    """A Vision Transformer; the defaults are ViT-B/16."""
    return VisionTransformer(**options)
