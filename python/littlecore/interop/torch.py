"""Littlecore's kernels in PyTorch: recorded by autograd, known to torch.compile, or in place of PyTorch's own.

    torch.ops.littlecore.layer_norm_forward(x, w, b, 1e-5)   # every kernel as a custom op, with its gradient

    with littlecore.interop.torch.kernels() as report:       # an unmodified model on littlecore's kernels
        loss = model(x).sum()
    loss.backward()
    print(report)

Where PyTorch has OpenMP, littlecore's kernels run on its threads from the import of this module on.

The ops are made from the kernels' own descriptions; what a kernel wants contiguous is copied if it is not.
Gradients of gradients are refused. ``python -m littlecore.interop.build_torch`` compiles them, once: a call then costs
a fraction of what it costs in Python, and so do calls of ``littlecore.kernels`` on PyTorch's tensors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from littlecore import cuda
from littlecore.interop._torch_ops import compiled, ops

__all__ = ["Kernels", "compiled", "kernels"]


# ---- in place of PyTorch's functions ---------------------------------------------------------------


class _Unsupported(Exception):
    """Why PyTorch's own function is called."""


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise _Unsupported(reason)


_WIDE = frozenset((torch.float32, torch.float64))
_FLOATS = _WIDE | {torch.bfloat16, torch.float16}


def _ready(*tensors: Any, wide: bool = False) -> None:
    first = tensors[0]
    for x in tensors:
        if x is None:
            continue
        if type(x) is not torch.Tensor and type(x) is not torch.nn.Parameter:
            raise _Unsupported(f"a {type(x).__name__}")
        placed = (x.is_cpu and first.is_cpu) or _on_gpu(x, first)
        if not placed or x.layout is not torch.strided:
            raise _Unsupported(f"on {x.device}, {x.layout}")
        if x.dtype is not first.dtype or x.dtype not in (_WIDE if wide else _FLOATS):
            raise _Unsupported(f"{x.dtype}")
    _need(not torch.is_autocast_enabled("cpu" if first.is_cpu else "cuda"), "autocast")


def _on_gpu(x: torch.Tensor, first: torch.Tensor) -> bool:
    return x.is_cuda and x.device == first.device and cuda.is_available()


def _matmul(a: Any, b: Any) -> Any:
    _ready(a, b)
    _need(a.dim() >= 2 and b.dim() >= 2, "a vector")
    return ops.matmul_forward(a, b)


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    _ready(input, weight, bias)
    _need(weight.dim() == 2 and input.dim() >= 1, "a vector")
    return ops.linear_forward(input, weight, bias)


def _conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    _ready(input, weight, bias, wide=True)
    _need(input.dim() == 4, "no batch")
    _need(not isinstance(padding, str), f"padding={padding!r}")
    return ops.conv2d_forward(input, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups)


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    _ready(query, key, value)
    _need(dropout_p == 0, "dropout")
    _need(query.dim() == key.dim() == value.dim() == 4, f"{query.dim()} axes")
    _need(key.shape[0] == value.shape[0] == query.shape[0] and key.shape[1] == value.shape[1], "broadcast batches")
    _need(enable_gqa or key.shape[1] == query.shape[1], "broadcast heads")
    _need(attn_mask is None or not is_causal, "a mask and is_causal")
    if attn_mask is not None:
        _need(attn_mask.dtype in (torch.bool, query.dtype) and attn_mask.dim() <= 4, f"a mask of {attn_mask.dtype}")
        attn_mask = attn_mask.reshape((1,) * (4 - attn_mask.dim()) + tuple(attn_mask.shape))
    return ops.attention_forward(query, key, value, attn_mask, scale or 0.0, is_causal)[0]


def _layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    _ready(input, weight, bias)
    _need(len(normalized_shape) == 1, f"{len(normalized_shape)} normalized axes")
    return ops.layer_norm_forward(input, weight, bias, eps)[0]


def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    _ready(input, weight)
    _need(len(normalized_shape) == 1, f"{len(normalized_shape)} normalized axes")
    return ops.rms_norm_forward(input, weight, torch.finfo(input.dtype).eps if eps is None else eps)[0]


def _softmax_of(log: bool) -> Callable[..., Any]:
    def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
        _need(dim is not None, "no dim")
        x = input if dtype is None else input.to(dtype)
        _ready(x, wide=True)
        return ops.softmax_forward(x, dim, log)

    return softmax


def _cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    _ready(input, weight, wide=True)
    _need(target.dtype == torch.int64 and input.dim() >= 2, "targets that are no class indices, or no batch")
    _need(size_average is None and reduce is None, "a deprecated argument")
    loss = ops.cross_entropy_forward(input, target, weight, ignore_index, label_smoothing)[0]
    if reduction != "mean":
        return loss if reduction == "none" else loss.sum()
    counted = target != ignore_index
    total = counted.sum() if weight is None else weight[target.where(counted, 0)].mul(counted).sum()
    return loss.sum() / total


def _gelu(input: Any, approximate: str = "none") -> Any:
    _ready(input)
    return ops.gelu_forward(input, approximate == "tanh")


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    _ready(input, weight, bias, running_mean, running_var, wide=True)
    _need(input.dim() >= 2, "no channels")
    if not training:
        return ops.batch_norm_forward(input, weight, bias, running_mean, running_var, False, eps)[0]
    y, base, rest, var = ops.batch_norm_forward(input, weight, bias, None, None, True, eps)
    if running_mean is not None:
        with torch.no_grad():
            n = input.numel() // input.shape[1]
            running_mean.lerp_(base + rest, momentum)
            running_var.lerp_(var * (n / max(n - 1, 1)), momentum)
    return y


def _pair(v: Any) -> list[int]:
    v = [v] if isinstance(v, int) else list(v)
    return v * 2 if len(v) == 1 else v


def _max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    _ready(input, wide=True)
    _need(input.dim() == 4, "no batch")
    _need(not return_indices, "indices")
    stride = _pair(stride) if stride else [0, 0]
    return ops.max_pool2d_forward(input, _pair(kernel_size), stride, _pair(padding), _pair(dilation), ceil_mode)[0]


def _avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    _ready(input, wide=True)
    _need(input.dim() == 4, "no batch")
    windows = (_pair(kernel_size), _pair(stride) if stride else [0, 0], _pair(padding))
    return ops.avg_pool2d_forward(input, *windows, ceil_mode, count_include_pad, divisor_override or 0)


def _conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    _ready(input, weight, bias, wide=True)
    _need(input.dim() == 4, "no batch")
    pairs = map(_pair, (stride, padding, output_padding, dilation))
    return ops.conv_transpose2d_forward(input, weight, bias, *pairs, groups)


def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    _ready(input, weight, bias, wide=True)
    return ops.group_norm_forward(input, weight, bias, num_groups, eps)[0]


def _leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    _ready(input)
    _need(not inplace, "in place")
    return ops.leaky_relu_forward(input, negative_slope)


def _addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    _ready(input, mat1, mat2)
    _need(beta == alpha == 1, "factors")
    _need(input.dim() == 1 and input.shape[0] == mat2.shape[1], "no bias")
    return ops.linear_forward(mat1, mat2.T, input)


def _elementwise(name: str) -> Callable[..., Any]:
    op = getattr(ops, f"{name}_forward")

    def function(input: Any, inplace: bool = False) -> Any:
        _ready(input)
        _need(not inplace, "in place")
        return op(input)

    return function


_REPLACED: dict[Any, Callable[..., Any]] = {
    F.linear: _linear,
    F.conv2d: _conv2d,
    F.scaled_dot_product_attention: _attention,
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    F.softmax: _softmax_of(False),
    F.log_softmax: _softmax_of(True),
    F.cross_entropy: _cross_entropy,
    F.gelu: _gelu,
    F.batch_norm: _batch_norm,
    F.avg_pool2d: _avg_pool2d,
    F.conv_transpose2d: _conv_transpose2d,
    F.group_norm: _group_norm,
    F.leaky_relu: _leaky_relu,
    **dict.fromkeys((F.max_pool2d, F.max_pool2d_with_indices, torch.max_pool2d), _max_pool2d),
    **dict.fromkeys((F.relu, torch.relu, torch.Tensor.relu), _elementwise("relu")),
    **dict.fromkeys((F.silu,), _elementwise("silu")),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, torch.Tensor.sigmoid), _elementwise("sigmoid")),
    **dict.fromkeys((F.tanh, torch.tanh, torch.Tensor.tanh), _elementwise("tanh")),
    **dict.fromkeys((torch.addmm, torch.Tensor.addmm), _addmm),
    **dict.fromkeys((torch.softmax, torch.Tensor.softmax), _softmax_of(False)),
    **dict.fromkeys((torch.log_softmax, torch.Tensor.log_softmax), _softmax_of(True)),
    **dict.fromkeys((torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.mm), _matmul),
}


# Python functions that call their parts where no mode sees them.
_CLOSED = {F.multi_head_attention_forward: "its parts cannot be reached; scaled_dot_product_attention can"}


class Kernels(TorchFunctionMode):
    """While entered, PyTorch's functions run on littlecore's kernels where they can. Printed, it is the report."""

    def __init__(self, measure: bool = False) -> None:
        super().__init__()
        self.measure = measure
        self.seconds: dict[str, tuple[float, float]] = {}  # of each function: here, and PyTorch's
        self.replaced: Counter[str] = Counter()
        self.kept: Counter[tuple[str, str]] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = _REPLACED.get(func)
        if ours is None:
            if func in _CLOSED:
                self.kept[func.__name__, _CLOSED[func]] += 1
            return func(*args, **(kwargs or {}))
        name = func.__name__
        theirs = tree_map(_copy, (args, kwargs or {})) if self.measure else None
        begin = perf_counter() if theirs else 0.0
        try:
            result = ours(*args, **kwargs) if kwargs else ours(*args)
        except _Unsupported as reason:
            self.kept[name, str(reason)] += 1
            return func(*args, **(kwargs or {}))
        self.replaced[name] += 1
        if theirs:
            end = perf_counter()
            func(*theirs[0], **theirs[1])
            here, there = self.seconds.get(name, (0.0, 0.0))
            self.seconds[name] = here + end - begin, there + perf_counter() - end
        return result

    def __str__(self) -> str:
        def gain(name: str) -> str:
            here, there = self.seconds.get(name, (0.0, 0.0))
            return f", {here * 1e3:.2f} ms, PyTorch {there * 1e3:.2f} ms" if here else ""

        lines = [f"{name}: {n} calls on littlecore{gain(name)}" for name, n in self.replaced.most_common()]
        return "\n".join(
            lines + [f"{name}: {n} calls on PyTorch ({why})" for (name, why), n in self.kept.most_common()]
        )


def _copy(x: Any) -> Any:
    """As a function that may write to its arguments can have it, and autograd does not see."""
    return x.detach().clone().requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x


def kernels(measure: bool = False) -> Kernels:
    """``with kernels() as report: model(x)`` runs an unmodified model on littlecore's kernels; gradients follow.

    With measure PyTorch's function is called after ours, on copies, for its time alone: ``report.seconds`` has for each
    function replaced the seconds of its forward calls, (here, PyTorch's). The first calls of a process are slower.
    """
    return Kernels(measure)
