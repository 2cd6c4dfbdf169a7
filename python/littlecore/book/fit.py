"""The training loop of most programs."""

from __future__ import annotations

from collections.abc import Callable

from littlecore import Tensor, nn, optim

from .demo import Demo


def fit(
    demo: Demo, model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, text: str = "training"
) -> list[float]:
    """Adam on what `loss()` draws and computes, with a learning rate that falls to 0; the losses of all steps."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in demo.progress(range(steps), text):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return losses
