"""Learning-rate schedules: the rate as a function of the number of steps taken.

A schedule is closed-form: `lr_at(step, base_lr, group)`. One schedule owns an optimizer's rate; combine several with
SequentialLR. `step()` is called after `optimizer.step()`; the count of steps is the whole state.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """Base class: counts steps and writes the rate into the optimizer's groups."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.optimizer = optimizer
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        """The rate of parameter group number `group` after `step` steps."""
        raise NotImplementedError

    def step(self) -> None:
        self.last_epoch += 1
        self._write()

    def _write(self) -> None:
        for i, (group, base_lr) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            group["lr"] = self.lr_at(self.last_epoch, base_lr, i)

    def get_last_lr(self) -> list[float]:
        """The rates in use, one a group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch = state_dict["last_epoch"]
        self.base_lrs = list(state_dict["base_lrs"])
        self._write()


class LambdaLR(LRScheduler):
    """base_lr * lr_lambda(step); one function, or one a group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return base_lr * self.lr_lambdas[group](step)


class StepLR(LRScheduler):
    """base_lr * gamma^(step // step_size)"""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return base_lr * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """base_lr * gamma^(number of milestones reached)"""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return base_lr * self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(LRScheduler):
    """base_lr * gamma^step"""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return base_lr * self.gamma**step


class CosineAnnealingLR(LRScheduler):
    """From base_lr to eta_min along half a cosine in T_max steps, and back again beyond."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class LinearLR(LRScheduler):
    """base_lr times a factor that goes from start_factor to end_factor in total_iters steps."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 < start_factor <= 1:
            raise ValueError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if not 0 <= end_factor <= 1:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        done = min(step, self.total_iters) / self.total_iters if self.total_iters else 1.0
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ConstantLR(LRScheduler):
    """base_lr * factor for total_iters steps, base_lr from then on."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        return base_lr * (self.factor if step < self.total_iters else 1.0)


class WarmupLR(LRScheduler):
    """Linearly from base_lr / warmup_steps up to base_lr, then as `after` says (its steps counted from there).

    scheduler = WarmupLR(optimizer, 100, after=CosineAnnealingLR(optimizer, total - 100))
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, after: LRScheduler | None = None, last_epoch: int = -1
    ) -> None:
        self.warmup_steps = warmup_steps
        self.after = after
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        if step < self.warmup_steps:
            return base_lr * (step + 1) / self.warmup_steps
        return base_lr if self.after is None else self.after.lr_at(step - self.warmup_steps, base_lr, group)


class SequentialLR(LRScheduler):
    """One schedule after the other: schedulers[i] from milestones[i - 1] on, its steps counted from there."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR expects one more scheduler than milestones, got number of schedulers {len(schedulers)} "
                f"and number of milestones {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: all schedulers must be of this optimizer")
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        index = bisect_right(self.milestones, step)
        start = self.milestones[index - 1] if index else 0
        return self.schedulers[index].lr_at(step - start, base_lr, group)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr, down to max_lr / div_factor / final_div_factor; momentum the other way.

    total_steps, or epochs * steps_per_epoch. three_phase: down to the initial rate first, then to the final one.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float = 0.85,
        max_momentum: float = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"Expected positive integer total_steps, but got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        groups = optimizer.param_groups
        if cycle_momentum and not ("momentum" in groups[0] or "betas" in groups[0]):
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.total_steps = total_steps
        self.max_lrs = [float(max_lr)] * len(groups) if isinstance(max_lr, (int, float)) else [float(x) for x in max_lr]
        if len(self.max_lrs) != len(groups):
            raise ValueError(f"expected {len(groups)} values for max_lr, got {len(self.max_lrs)}")
        self.anneal = _cosine if anneal_strategy == "cos" else _linear
        self.cycle_momentum = cycle_momentum
        self.momentums = (max_momentum, base_momentum)
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        top = float(pct_start * total_steps) - 1
        if three_phase:  # (last step, rate from, rate to, momentum from, momentum to); 0: initial, 1: max, 2: final
            self.phases = [(top, 0, 1, 0, 1), (2 * top, 1, 0, 1, 0), (float(total_steps - 1), 0, 2, 0, 0)]
        else:
            self.phases = [(top, 0, 1, 0, 1), (float(total_steps - 1), 1, 2, 1, 0)]
        super().__init__(optimizer, last_epoch)

    def _phase(self, step: int) -> tuple[float, int, int, int, int]:
        """How far into its phase the step is, and what the phase goes from and to."""
        if step > self.total_steps:  # as PyTorch, one more than there are rates: a loop steps after its last step too
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        start = 0.0
        for i, (end, *ends) in enumerate(self.phases):
            if step <= end or i == len(self.phases) - 1:
                return ((step - start) / (end - start) if end != start else 1.0, *ends)  # type: ignore[return-value]
            start = end
        raise AssertionError("unreachable")

    def lr_at(self, step: int, base_lr: float, group: int) -> float:
        top = self.max_lrs[group]
        rates = (top / self.div_factor, top, top / self.div_factor / self.final_div_factor)
        done, begin, end, _, _ = self._phase(step)
        return self.anneal(rates[begin], rates[end], done)

    def _write(self) -> None:
        super()._write()
        if not self.cycle_momentum:
            return
        done, _, _, begin, end = self._phase(self.last_epoch)
        momentum = self.anneal(self.momentums[begin], self.momentums[end], done)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)


def _linear(start: float, end: float, done: float) -> float:
    return (end - start) * done + start


class ReduceLROnPlateau:
    """Multiply the rate by factor when the metric has not improved for more than `patience` calls of step(metric)."""

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: float | Sequence[float] = 0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        groups = len(optimizer.param_groups)
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.min_lrs = [float(min_lr)] * groups if isinstance(min_lr, (int, float)) else [float(x) for x in min_lr]
        if len(self.min_lrs) != groups:
            raise ValueError(f"expected {groups} min_lrs, got {len(self.min_lrs)}")
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:
        current = float(metrics)
        self.last_epoch += 1
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lr = max(group["lr"] * self.factor, least)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, current: float) -> bool:
        relative = self.threshold_mode == "rel"
        if self.mode == "min":
            return current < (self.best * (1 - self.threshold) if relative else self.best - self.threshold)
        return current > (self.best * (1 + self.threshold) if relative else self.best + self.threshold)

    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {name: getattr(self, name) for name in names} | {"lrs": self.get_last_lr()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            setattr(self, name, state_dict[name])
        for group, lr in zip(self.optimizer.param_groups, state_dict["lrs"], strict=True):
            group["lr"] = lr
