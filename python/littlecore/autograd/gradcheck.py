"""gradcheck: backward against central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _core
from .._core import Tensor, from_numpy
from .grad_mode import enable_grad, no_grad

if TYPE_CHECKING:
    import numpy as np


def gradcheck(
    func: Callable[..., Any], inputs: Tensor | Sequence[Any], *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, raise_exception: bool = True, nondet_tol: float = 0.0,
) -> bool:  # fmt: skip
    """True if every entry of the Jacobian of func agrees with (func(x + eps) - func(x - eps)) / (2 eps).

    inputs: those that require grad are checked and must be float64. nondet_tol: how much a second backward may differ.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if not checked:
        raise ValueError("gradcheck: at least one input must require a gradient")
    for i in checked:
        if args[i].dtype is not _core.float64:
            raise ValueError(f"gradcheck: input {i} is {args[i].dtype}; only float64 is precise enough")

    try:
        for position in checked:
            _check_input(func, args, position, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


class GradcheckError(RuntimeError):
    """Backward and differences disagree."""


def _check_input(
    func: Callable[..., Any], args: tuple[Any, ...], position: int, eps: float, atol: float, rtol: float,
    nondet_tol: float,
) -> None:  # fmt: skip
    import numpy as np  # not with nn, which imports this

    numeric = _differences(func, args, position, eps)
    analytic, again = _jacobians(func, args, position), _jacobians(func, args, position)
    for output, (a, b, n) in enumerate(zip(analytic, again, numeric, strict=True)):
        if np.any(np.abs(a - b) > nondet_tol):
            raise GradcheckError(f"gradcheck: backward of output {output} for input {position} is not reproducible")
        if not np.allclose(a, n, rtol=rtol, atol=atol):
            worst = np.unravel_index(np.argmax(np.abs(a - n)), a.shape)
            raise GradcheckError(
                f"gradcheck: Jacobian of output {output} with respect to input {position} is wrong; worst at "
                f"{tuple(map(int, worst))}: backward {a[worst]!r}, differences {n[worst]!r}\n"
                f"backward:\n{a}\ndifferences:\n{n}"
            )


def _outputs(result: Any) -> list[Tensor]:
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [r for r in results if isinstance(r, Tensor) and r.is_floating_point()]


def _jacobians(func: Callable[..., Any], args: tuple[Any, ...], position: int) -> list[np.ndarray]:
    """By backward: one [input elements, output elements] array per output."""
    import numpy as np

    with enable_grad():
        x = args[position].detach().requires_grad_()
        outputs = _outputs(func(*args[:position], x, *args[position + 1 :]))
    columns = []
    for y in outputs:
        jacobian = np.zeros((x.numel(), y.numel()))
        for j in range(y.numel()):
            direction = np.zeros(y.numel())
            direction[j] = 1
            dy = from_numpy(direction.reshape(tuple(y.shape)))
            if y.requires_grad:
                (dx,) = _core.grad([y], [x], [dy], True, True)
                if dx is not None:
                    jacobian[:, j] = np.asarray(dx.detach().numpy()).ravel()
        columns.append(jacobian)
    return columns


def _differences(func: Callable[..., Any], args: tuple[Any, ...], position: int, eps: float) -> list[np.ndarray]:
    import numpy as np

    x = np.array(args[position].detach().numpy(), dtype=np.float64)

    def values(changed: np.ndarray) -> list[np.ndarray]:
        with no_grad():
            y = func(*args[:position], from_numpy(changed), *args[position + 1 :])
        return [np.array(o.detach().numpy(), dtype=np.float64).ravel() for o in _outputs(y)]

    rows = []
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += eps
        below[index] -= eps
        rows.append([(a - b) / (2 * eps) for a, b in zip(values(above), values(below), strict=True)])
    if not rows:
        return [np.zeros((0, y.size)) for y in values(x)]
    return [np.stack(column) for column in zip(*rows, strict=True)]
