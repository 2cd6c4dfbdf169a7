"""Mixed precision on CUDA: autocast computes in 16 bits where that is safe, GradScaler keeps small gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from . import _core
from ._core import Tensor
from .autograd import no_grad
from .optim import Optimizer

F = TypeVar("F", bound=Callable[..., Any])
_LARGEST = 3.4028234663852886e38  # float32, which the scale is on the device

# ---- autocast --------------------------------------------------------------------------------------------------------


class autocast:
    """A region, or a decorated function, whose ops on CUDA tensors choose their type (Micikevicius et al. 2018, §3).

        with lc.autocast("cuda", dtype=lc.bfloat16):
            loss = F.cross_entropy(model(x), target)
        loss.backward()

    In `dtype`: matmul and its kin, einsum, linear, convolutions, attention. In float32: softmax, norms, losses, sum,
    prod, norm, logsumexp, cumsum, cumprod, exp, expm1, log, log1p, pow, reciprocal, rsqrt, softplus, recurrent layers.
    All others take what they are given, two types promoted to the wider. Parameters stay float32 and their gradients
    arrive so: each is converted once in the region, for all its uses. Backward belongs outside; it uses the types of
    forward in any case.

    CPU tensors are left as they are in the region. device_type "cpu" is a ValueError unless enabled is False: kernels
    of the CPU compute in float32. dtype: bfloat16, or float16, PyTorch's default, which needs a GradScaler.
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True) -> None:
        dtype = _core.float16 if dtype is None else dtype
        if device_type not in ("cuda", "cpu"):
            raise ValueError(f"autocast: device_type must be 'cuda', got {device_type!r}")
        if enabled and device_type == "cpu":
            raise ValueError("autocast: kernels of the CPU compute in float32; pass enabled=False there")
        if dtype not in (_core.bfloat16, _core.float16):
            raise ValueError(f"autocast: dtype must be bfloat16 or float16, got {dtype}")
        self.device_type = device_type
        self.fast_dtype = dtype
        self.enabled = enabled
        self._before: list[Any] = []  # one object may be entered more than once

    def __enter__(self) -> autocast:
        on_cuda = self.device_type == "cuda"
        self._before.append(_core.autocast_dtype())
        _core.set_autocast_dtype((self.fast_dtype if self.enabled else None) if on_cuda else self._before[-1])
        return self

    def __exit__(self, *_: object) -> None:
        _core.set_autocast_dtype(self._before.pop())

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


# ---- loss scaling ----------------------------------------------------------------------------------------------------


class GradScaler:
    """Multiplies the loss so that small gradients are not 0 in float16, and divides the gradients before the step.

        with lc.autocast("cuda", dtype=lc.float16):
            loss = ...
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    A step whose gradients hold an infinity or NaN is skipped and the scale falls by backoff_factor; after
    growth_interval good steps in a row it grows by growth_factor (Micikevicius et al. 2018, §3.2). bfloat16 has
    float32's range and needs none. The scale is a tensor beside the loss; whether to step is decided on the host, so
    scale() can stand in a captured step, the others not.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if growth_factor <= 1:
            raise ValueError(f"GradScaler: growth_factor must be above 1, got {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise ValueError(f"GradScaler: backoff_factor must lie between 0 and 1, got {backoff_factor}")
        self._device = device
        self._scale = float(init_scale)
        self._scale_tensor: Tensor | None = None  # the same, where the losses are
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._enabled = enabled
        self._found_inf: dict[int, bool] = {}  # of the optimizers unscaled since the last update
        self._stepped: set[int] = set()

    # ---- a step ------------------------------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """outputs times the scale: a tensor, or a list or tuple of them."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(x) for x in outputs)
        if not isinstance(outputs, Tensor):
            raise TypeError(f"GradScaler.scale: outputs must be tensors, got {type(outputs).__name__}")
        if self._scale_tensor is None or self._scale_tensor.device != outputs.device:
            self._scale_tensor = _core.full((), self._scale, device=outputs.device)
        return outputs * self._scale_tensor

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, once a step; then they can be clipped."""
        if not self._enabled:
            return
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.unscale_: step() of this optimizer came first; unscale before it")
        if id(optimizer) in self._found_inf:
            raise RuntimeError("GradScaler.unscale_: a second time for this optimizer; once before each update()")
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not grads:
            raise ValueError("GradScaler: no parameter of the optimizer has a gradient; call backward() first")
        if any(g.dtype is _core.float16 for g in grads):
            raise ValueError(
                "GradScaler.unscale_: float16 gradients lose what the scale saved; keep parameters in float32"
            )
        with no_grad():
            self._found_inf[id(optimizer)] = not math.isfinite(_core.total_norm(grads, math.inf).item())
            for g in grads:
                g.mul_(1 / self._scale)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), its gradients unscaled before; None, and no step, where they are not all finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("GradScaler.step: takes no closure, which would compute gradients that are not scaled")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: a second time for this optimizer; call update() between")
        if id(optimizer) not in self._found_inf:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found_inf[id(optimizer)] else optimizer.step()

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """The scale of the next step; at the end of each."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._set_scale(float(new_scale))
        elif not self._found_inf:
            raise ValueError("GradScaler.update: no step() or unscale_() came before it")
        elif any(self._found_inf.values()):
            self._set_scale(self._scale * self._backoff_factor)
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                if self._scale * self._growth_factor <= _LARGEST:
                    self._set_scale(self._scale * self._growth_factor)
                self._growth_tracker = 0
        self._found_inf.clear()
        self._stepped.clear()

    def _set_scale(self, scale: float) -> None:
        self._scale = scale
        if self._scale_tensor is not None:
            self._scale_tensor.fill_(scale)

    # ---- state -------------------------------------------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """False: scale() and step() change nothing."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale, 1 where disabled."""
        return self._scale if self._enabled else 1.0

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's names; empty where disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on as the scaler that was saved."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("GradScaler.load_state_dict: empty, saved from a disabled scaler")
        self._set_scale(float(state_dict["scale"]))
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
