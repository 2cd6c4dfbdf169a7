"""Sampling from an autoregressive model, token by token, with a cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .. import _core
from .._core import Tensor
from ..autograd import capture, no_grad
from ..nn import functional as F
from ..nn.linear import is_plain


def filtered(logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Logits [N, V] with -inf for the tokens that may not be drawn.

    top_k: the k most probable stay. top_p: of what is left, the smallest set of most probable tokens whose probability
    reaches p; the most probable one always stays.
    """
    if temperature <= 0:
        raise ValueError(
            f"temperature must be positive, got {temperature}; use greedy=True for the most probable token"
        )
    logits = logits / temperature
    if top_k is not None:
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        values, _ = _core.topk(logits, min(top_k, logits.shape[-1]), -1)  # [N, k]
        logits = _core.where(logits < values[:, -1:], -math.inf, logits)
    if top_p is not None and top_p < 1:
        if top_p <= 0:
            raise ValueError(f"top_p must be positive, got {top_p}")
        ordered, indices = _core.sort(logits, -1, descending=True)  # [N, V]
        before = F.softmax(ordered, -1)
        before = before.cumsum(-1) - before  # probability of all tokens ranked higher
        ordered = _core.where(before >= top_p, -math.inf, ordered)
        _, back = _core.sort(indices, -1)  # [N, V]: rank of each token
        logits = _core.gather(ordered, -1, back)
    return logits


def sample(logits: Tensor) -> Tensor:
    """One token per row, drawn from softmax(logits).    [N, V] -> int64 [N]

    The inverse of the cumulative distribution at one uniform number a row; a token of probability 0 is never drawn.
    """
    cumulative = F.softmax(logits.to(_core.float64), -1).cumsum(-1)  # [N, V]
    u = _core.rand((logits.shape[0], 1), dtype=_core.float64, device=logits.device)
    threshold = u * cumulative[:, -1:]  # the sum is 1 but for rounding
    return (cumulative <= threshold).sum(-1).clamp(max=logits.shape[-1] - 1)


class Generates:
    """What a model needs to generate: `forward(tokens, cache)`, `make_cache(batch, fixed)` and `block_size`."""

    block_size: int

    def stream(
        self, tokens: Tensor, max_new_tokens: int, temperature: float = 1.0, top_k: int | None = None,
        top_p: float | None = None, greedy: bool = False, use_cache: bool = True,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Yield the new tokens [N] one step at a time, after the prompt `tokens` [N, T].

        The context is the last block_size tokens. Until it is full each step runs on the new token alone; from then on
        every position shifts with each token, and the whole window is computed again. On CUDA a step with the cache is
        captured, unless somebody watches one of the model's modules.
        """
        if tokens.dim() != 2 or tokens.shape[1] == 0:
            raise ValueError(f"generate: tokens must be [N, T] with at least one token each, got {tuple(tokens.shape)}")
        model: Any = self
        fixed = tokens.device != "cpu" and all(is_plain(module) for module in model.modules())
        cache = model.make_cache(tokens.shape[0], fixed) if use_cache else None
        step: Any = no_grad()(lambda token: model(token, cache))
        if fixed:
            step = capture(step)
        unseen = tokens = tokens[:, -self.block_size :]
        seen = 0
        for _ in range(max_new_tokens):
            with no_grad():
                seen += unseen.shape[1]
                if cache is not None and seen <= self.block_size:
                    logits = step(unseen) if unseen.shape[1] == 1 else model(unseen, cache)
                else:
                    cache = None
                    logits = model(tokens)
                logits = logits[:, -1]  # [N, V]
                new = logits.argmax(-1) if greedy else sample(filtered(logits, temperature, top_k, top_p))
                unseen = new.unsqueeze(1)  # [N] -> [N, 1]
                tokens = _core.cat([tokens, unseen], 1)[:, -self.block_size :]
            yield new

    def generate(self, tokens: Tensor, max_new_tokens: int, **options: Any) -> Tensor:
        """The prompt and max_new_tokens more, in eval mode; options as in `stream`.    [N, T] -> [N, T']"""
        model: Any = self
        training = model.training
        model.eval()
        try:
            new = [t.unsqueeze(1) for t in self.stream(tokens, max_new_tokens, **options)]
        finally:
            model.train(training)
        return _core.cat([tokens, *new], 1) if new else tokens
