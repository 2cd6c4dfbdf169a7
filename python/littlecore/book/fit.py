"""The training loop of most programs."""

from __future__ import annotations

from collections.abc import Callable

from littlecore import Tensor, nn, optim

from .demo import Demo


def fit(
    demo: Demo, model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, text: str = "training",
    warmup: int = 0,
) -> list[float]:  # fmt: skip
    """Adam on what `loss()` draws and computes; the losses of all steps.

    The learning rate rises for `warmup` steps, then falls to 0.
    """
    optimizer = optim.Adam(model.parameters(), lr=rate)
    falling = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup)
    schedule = optim.lr_scheduler.WarmupLR(optimizer, warmup, after=falling)
    losses = []
    for _ in demo.progress(range(steps), text):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return losses
