"""summary: a table of every module's output shape, parameters and FLOPs, from one forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import _core
from .._core import Tensor
from ..autograd import no_grad
from . import functional
from .module import Module


@dataclass
class Row:
    """One call of one module."""

    path: str
    name: str  # the path from the row above it that it belongs to
    kind: str
    depth: int
    shape: Any = None
    parameters: int = 0  # its own and its children's, each counted once in the whole table
    flops: int = 0  # its own functional calls and its children's
    leaf: bool = True


@dataclass
class Summary:
    """What `summary` found. `print(model.summary(..., verbose=False))` prints it later."""

    title: str
    rows: list[Row] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    buffers: int = 0
    bytes: int = 0
    flops: int = 0

    def __rich__(self) -> Any:
        from rich.table import Table

        total = f"{self.parameters:,} parameters ({self.trainable:,} trainable), {_size(self.bytes)}"
        if self.flops:
            total += f", {_flops(self.flops)} forward"
        table = Table(title=self.title, caption=total, title_justify="left", caption_justify="left")
        table.add_column("module")
        table.add_column("output shape")
        table.add_column("parameters", justify="right")
        table.add_column("FLOPs", justify="right")
        for row in self.rows:
            name = "  " * row.depth + (f"{row.name} ({row.kind})" if row.name else row.kind)
            counts = (f"{row.parameters:,}" if row.parameters else "-", f"{row.flops:,}" if row.flops else "-")
            table.add_row(name, _shape(row.shape), *counts, style=None if row.leaf else "bold")
        return table

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        out = StringIO()
        Console(file=out, width=120).print(self)
        return out.getvalue().rstrip()

    def __repr__(self) -> str:
        return f"Summary({self.title}: {self.parameters:,} parameters, {self.flops:,} FLOPs)"


def summary(model: Module, *example: Any, verbose: bool = True) -> Summary:
    """Run model once on `example` (tensors, or shapes, filled with ones) and tabulate what its modules did.

        model.summary((1, 1, 28, 28))
        model.summary(tokens)

    FLOPs are those of the forward pass: 2 per multiply-add of matrix products, convolutions and attention, 1 per
    output element of everything else that nn.functional does. Nothing of the model changes.
    """
    result = Summary(type(model).__name__)
    result.parameters = sum(p.numel() for p in model.parameters())
    result.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    result.buffers = sum(b.numel() for b in model.buffers())
    result.bytes = sum(x.numel() * x.element_size() for x in (*model.parameters(), *model.buffers()))

    counter = _Counter(result.rows)
    if example:
        with watched(model, counter.enter, counter.leave), functions_replaced(model, counter.counted):
            model(*inputs_of(model, example))
    else:
        counter.walk(model)
    result.flops = counter.flops
    if verbose:
        from rich.console import Console

        Console().print(result)
    return result


# ---- watching a forward pass -----------------------------------------------------------------------------------------


def inputs_of(model: Module, example: tuple[Any, ...]) -> list[Tensor]:
    """Tensors as they are; for shapes, ones of the model's kind."""
    first = next(iter(model.parameters()), None)
    kind: dict[str, Any] = {} if first is None else {"dtype": first.dtype, "device": first.device}
    shapes = [(x,) if isinstance(x, int) else x for x in example]
    return [x if isinstance(x, Tensor) else _core.ones(tuple(x), **kind) for x in shapes]


@contextmanager
def watched(model: Module, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """In evaluation and without gradients, enter(path, module, args) and leave(module, args, output) see every call."""
    modes = [(m, m.training) for m in model.modules()]
    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(partial(enter, name)))
            handles.append(module.register_forward_hook(leave))
        model.eval()
        with no_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.__dict__["training"] = mode


@contextmanager
def functions_replaced(
    model: Module, replacement: Callable[[str, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """While this is open, functions of nn.functional, those that modules keep too, are replacement(name, function)."""
    with ExitStack() as stack:
        new = {}
        for name in functional.__all__:
            original = getattr(functional, name)
            new[original] = replacement(name, original)
            setattr(functional, name, new[original])
            stack.callback(setattr, functional, name, original)
        for module in model.modules():
            for key, value in list(vars(module).items()):
                if callable(value) and value in new:
                    module.__dict__[key] = new[value]
                    stack.callback(module.__dict__.__setitem__, key, value)
        yield


class _Counter:
    """Follows a forward pass: which module runs, and the FLOPs of the functions it calls."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.open: list[Row] = []
        self.seen: set[int] = set()
        self.flops = 0

    def enter(self, path: str, module: Module, args: Any) -> None:
        self._begin(path, module)

    def _begin(self, path: str, module: Module) -> Row:
        name = path
        if self.open:
            name = path.removeprefix(self.open[-1].path).lstrip(".")
            self.open[-1].leaf = False
        row = Row(path, name, type(module).__name__, len(self.open), parameters=self._own(module))
        self.rows.append(row)
        self.open.append(row)
        return row

    def leave(self, module: Module, args: Any, output: Any) -> None:
        row = self.open.pop()
        row.shape = _shapes(output)
        if self.open:
            self.open[-1].parameters += row.parameters
            self.open[-1].flops += row.flops

    def _own(self, module: Module) -> int:
        fresh = [p for p in module._parameters.values() if p is not None and id(p) not in self.seen]
        self.seen.update(id(p) for p in fresh)
        return sum(p.numel() for p in fresh)

    def walk(self, module: Module, path: str = "") -> Row:
        """Without an example: the tree and its parameters."""
        row = self._begin(path, module)
        for name, child in module.named_children():
            row.parameters += self.walk(child, f"{path}.{name}" if path else name).parameters
        return self.open.pop()

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        flops = FLOPS.get(name, _elementwise)

        def counted(*args: Any, **kwargs: Any) -> Any:
            output = function(*args, **kwargs)
            count = flops(output, *args)
            self.flops += count
            if self.open:
                self.open[-1].flops += count
            return output

        return counted


# ---- FLOPs of a function, from its output and positional arguments ---------------------------------------------------


def _elementwise(y: Any, *args: Any) -> int:
    return int(y.numel()) if isinstance(y, Tensor) else 0


def _product(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any) -> int:
    """linear and convolutions: each output element sums over a weight's row."""
    return y.numel() * (2 * math.prod(weight.shape[1:]) + (bias is not None))


def _transposed_product(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any) -> int:
    """conv_transpose: each input element is spread over a weight's row."""
    return x.numel() * 2 * math.prod(weight.shape[1:]) + (y.numel() if bias is not None else 0)


def _attention(y: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> int:
    """q k^T, softmax (5 a score) and the product with v."""
    scores = q.numel() // q.shape[-1] * k.shape[-2]
    return scores * (2 * q.shape[-1] + 2 * v.shape[-1] + 5)


def _nothing(*args: Any) -> int:
    return 0


FLOPS: dict[str, Callable[..., int]] = {
    "linear": _product,
    "conv1d": _product,
    "conv2d": _product,
    "conv_transpose1d": _transposed_product,
    "conv_transpose2d": _transposed_product,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("embedding", "dropout", "dropout1d", "dropout2d", "pad", "unfold", "one_hot"), _nothing),
}


# ---- printing --------------------------------------------------------------------------------------------------------


def _shapes(output: Any) -> Any:
    if isinstance(output, Tensor):
        return tuple(output.shape)
    if isinstance(output, (tuple, list)):
        return [_shapes(o) for o in output if isinstance(o, (Tensor, tuple, list))]
    return None


def _shape(shape: Any) -> str:
    if shape is None:
        return "-"
    return "x".join(map(str, shape)) or "scalar" if isinstance(shape, tuple) else ", ".join(map(_shape, shape))


def _size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def _flops(count: int) -> str:
    for unit in ("FLOP", "KFLOP", "MFLOP", "GFLOP"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} TFLOP"
