"""What a model is trained for: a function of (model, batch) that gives the loss to minimise and figures to report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Task = Callable[[Any, Any], tuple[Any, dict[str, float]]]


def classification(label_smoothing: float = 0.0) -> Task:
    """Cross-entropy of logits [n, classes] against labels [n]; reports the accuracy.

    Labels are smoothed in training only, so that validation losses of different runs compare.
    """
    from littlecore.nn import functional as F

    def task(model: Any, batch: Any) -> tuple[Any, dict[str, float]]:
        x, y = batch
        logits = model(x)
        loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing if model.training else 0.0)
        correct = (logits.argmax(1) == y).sum().item()
        return loss, {"accuracy": correct / len(y)}

    return task


def language_modelling() -> Task:
    """Cross-entropy, in nats a token, of logits [n, length, vocabulary] against the next tokens [n, length]."""
    from littlecore.nn import functional as F

    def task(model: Any, batch: Any) -> tuple[Any, dict[str, float]]:
        x, y = batch
        logits = model(x)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1)), {}

    return task
