"""Whisper (Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022).

Keys are those of Hugging Face's WhisperForConditionalGeneration ("model.decoder.layers.0.encoder_attn.q_proj.weight").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _core, nn
from .._core import Tensor
from ..autograd import no_grad
from ..nn import functional as F
from ..nn.linear import feed_forward
from ..nn.state import IncompatibleKeys, as_tensor
from .gpt import KVCache


class Attention(nn.Module):
    """Multi-head attention of x to memory.    [N, T, D], [N, S, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"whisper: width {width} must be divisible by heads {heads}")
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))

    def split(self, x: Tensor) -> Tensor:
        """[N, T, D] -> [N, H, T, D/H]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """[N, S, D] -> 2 x [N, H, S, D/H]"""
        return self.split(self.k_proj(memory)), self.split(self.v_proj(memory))

    def attend(self, x: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        """[N, T, D], 2 x [N, H, S, D/H] -> [N, T, D]"""
        y = F.scaled_dot_product_attention(self.split(self.q_proj(x)), k, v, is_causal=causal)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, memory: Tensor, causal: bool = False) -> Tensor:
        return self.attend(x, *self.keys_values(memory), causal)

    def weights(self, x: Tensor, memory: Tensor) -> Tensor:
        """How much each place of x attends to each of memory, not causal.    [N, T, D], [N, S, D] -> [N, H, T, S]"""
        q, k = self.split(self.q_proj(x)), self.split(self.k_proj(memory))
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


class Layer(nn.Module):
    """What both sides have: self-attention and MLP, each behind a layer norm and beside a skip connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def attend(self, x: Tensor, causal: bool) -> Tensor:
        """[N, T, D] -> [N, T, D]"""
        y = self.self_attn_layer_norm(x)
        return x + self.self_attn(y, y, causal)

    def feed(self, x: Tensor) -> Tensor:
        """[N, T, D] -> [N, T, D]"""
        return feed_forward(self.final_layer_norm(x), self.fc1, F.gelu, self.fc2, x)


class EncoderLayer(Layer):
    """[N, S, D] -> [N, S, D]"""

    def forward(self, x: Tensor) -> Tensor:
        return self.feed(self.attend(x, False))


class TextCache:
    """What the decoder need not compute again: keys and values of what was heard and, as it grows, of the text.

    memory [N, S, D]; room for `length` tokens. Tokens come all at once at first, then one at a time.
    """

    def __init__(self, decoder: Decoder, memory: Tensor, length: int) -> None:
        layers, (batch, _, width) = decoder.layers, memory.shape
        heads = layers[0].self_attn.heads
        self.text = KVCache(len(layers), batch, heads, length, width // heads, memory)
        self.heard = [layer.encoder_attn.keys_values(memory) for layer in layers]


class DecoderLayer(Layer):
    """Attention to the text so far and to what was heard, and MLP.    [N, T, D], [N, S, D] -> [N, T, D]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.encoder_attn = Attention(width, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, cache: TextCache | None = None, number: int = 0) -> Tensor:
        if cache is None:
            x = self.attend(x, True)
            x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), memory)
        else:
            y = self.self_attn_layer_norm(x)
            k, v = cache.text.extend(number, *self.self_attn.keys_values(y))
            x = x + self.self_attn.attend(y, k, v, causal=y.shape[1] > 1)
            x = x + self.encoder_attn.attend(self.encoder_attn_layer_norm(x), *cache.heard[number])
        return self.feed(x)


class Encoder(nn.Module):
    """A spectrogram heard by two convolutions and a Transformer.    [N, mels, 2S] -> [N, S, D]"""

    def __init__(self, mels: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(length, width)
        self.embed_positions.weight.requires_grad_(False).copy_(sinusoids(length, width))
        self.layers = nn.ModuleList([EncoderLayer(width, heads) for _ in range(layers)])
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).mT  # [N, mels, 2S] -> [N, D, S] -> [N, S, D]
        length, most = x.shape[1], self.embed_positions.weight.shape[0]
        if length > most:
            raise ValueError(f"whisper: {mel.shape[-1]} columns of sound are more than 2 x audio_length {most}")
        x = x + self.embed_positions.weight[:length]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    """What each token and those before it make of what was heard.    int64 [N, T], [N, S, D] -> [N, T, D]"""

    def __init__(self, vocab_size: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, width)
        self.embed_positions = nn.Embedding(length, width)
        self.layers = nn.ModuleList([DecoderLayer(width, heads) for _ in range(layers)])
        self.layer_norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        nn.init.normal_(self.embed_positions.weight, std=0.02)

    def forward(self, tokens: Tensor, memory: Tensor, cache: TextCache | None = None) -> Tensor:
        start, most = 0 if cache is None else cache.text.length, self.embed_positions.weight.shape[0]
        end = start + tokens.shape[1]
        if end > most:
            raise ValueError(f"whisper: {end} tokens are more than text_length {most}")
        if start > 0 and tokens.shape[1] > 1:
            raise ValueError(f"whisper: a cache of {start} tokens takes one more at a time, got {tokens.shape[1]}")
        x = self.embed_tokens(tokens) + self.embed_positions.weight[start:end]
        for number, layer in enumerate(self.layers):
            x = layer(x, memory, cache, number)
        if cache is not None:
            cache.text.length = end
        return self.layer_norm(x)


class Whisper(nn.Module):
    """Sound [N, mels, 2S] and tokens int64 [N, T] -> logits of the next tokens [N, T, vocab_size].

    The sound is data.log_mel's. What to do with it stands before the text: tokens of the language and of the task. The
    defaults are the size tiny: 37,760,640 parameters, the embedding shared with the readout.
    """

    def __init__(
        self, vocab_size: int = 51865, mels: int = 80, audio_length: int = 1500, text_length: int = 448,
        width: int = 384, heads: int = 6, encoder_layers: int = 4, decoder_layers: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        encoder = Encoder(mels, audio_length, width, heads, encoder_layers)
        decoder = Decoder(vocab_size, text_length, width, heads, decoder_layers)
        self.model = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        self.proj_out = nn.Linear(width, vocab_size, bias=False)
        self.proj_out.weight = decoder.embed_tokens.weight  # one tensor, two keys

    def encode(self, mel: Tensor) -> Tensor:
        """[N, mels, 2S] -> [N, S, D]"""
        return self.model["encoder"](mel)

    def make_cache(self, memory: Tensor) -> TextCache:
        """For `decode`, of what `encode` gave.    [N, S, D]"""
        decoder = self.model["decoder"]
        return TextCache(decoder, memory, decoder.embed_positions.weight.shape[0])

    def decode(self, tokens: Tensor, memory: Tensor, cache: TextCache | None = None) -> Tensor:
        """`tokens` are those behind what the cache has had.    [N, T], [N, S, D] -> [N, T, vocab_size]"""
        return self.proj_out(self.model["decoder"](tokens, memory, cache))

    def forward(self, mel: Tensor, tokens: Tensor) -> Tensor:
        return self.decode(tokens, self.encode(mel))

    @no_grad()
    def generate(self, mel: Tensor, prompt: Tensor, end: int, most: int) -> Tensor:
        """The most probable token at every step, `most` at the most, behind `prompt`.    [N, P] -> [N, P + new]

        Rows that have had `end` get more of it.
        """
        memory, tokens = self.encode(mel), prompt
        cache, unseen = self.make_cache(memory), prompt
        done = _core.zeros((len(prompt),), dtype=_core.bool_, device=prompt.device)
        for _ in range(most):
            following = _core.where(done, end, self.decode(unseen, memory, cache)[:, -1].argmax(-1))  # [N]
            unseen = following.unsqueeze(1)
            tokens = _core.cat([tokens, unseen], 1)
            done = done | (following == end)
            if bool(done.all()):
                break
        return tokens


def sinusoids(length: int, width: int) -> Tensor:
    """[length, width]: sines of falling frequencies 1 to 1/10000 in the first half of the columns, then cosines."""
    if width % 2:
        raise ValueError(f"whisper: width must be even, got {width}")
    frequency = np.exp(-math.log(1e4) * np.linspace(0, 1, width // 2))
    angle = np.arange(length)[:, None] * frequency
    return _core.from_numpy(np.concatenate([np.sin(angle), np.cos(angle)], 1)).float()


def load_whisper(model: Whisper, state_dict: Mapping[str, Any]) -> IncompatibleKeys:
    """Load a checkpoint of Hugging Face's; the readout, which is the embedding, may be missing."""
    converted = {key: as_tensor(key, value) for key, value in state_dict.items()}
    converted.setdefault("proj_out.weight", converted["model.decoder.embed_tokens.weight"])
    return model.load_state_dict(converted)


SIZES = {  # layers, heads, width
    "tiny": (4, 6, 384),
    "base": (6, 8, 512),
    "small": (12, 12, 768),
    "medium": (24, 16, 1024),
    "large": (32, 20, 1280),
}


def whisper(size: str | None = None, **options: Any) -> Whisper:
    """A Whisper of the given options, or one of the paper's sizes: tiny, base, small, medium, large."""
    if size is not None:
        layers, heads, width = SIZES[size]
        options = {"encoder_layers": layers, "decoder_layers": layers, "heads": heads, "width": width, **options}
    return Whisper(**options)
