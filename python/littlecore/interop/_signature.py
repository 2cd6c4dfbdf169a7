"""The kernels' descriptions, for bindings that are made of them: arguments, and the shapes of what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from littlecore import _kernels  # type: ignore[attr-defined]

Shape = tuple[Any, ...]


@dataclass(frozen=True)
class Argument:
    name: str
    optional: bool
    in_place: bool
    dtype: str  # float, real, T, acc, int64, mask
    layout: str  # "" contiguous, "~" any strides, "~1" any but for a dense last axis
    axes: tuple[str, ...]  # with ^ where it may be broadcast; ("=a",) has the shape of a

    @staticmethod
    def parse(text: str) -> Argument:
        found = re.fullmatch(r"(\w+)([?!]*):(\w+?)(~1?|)\[(.*)\]", text)
        assert found, text
        name, marks, dtype, layout, axes = found.groups()
        return Argument(name, "?" in marks, "!" in marks, dtype, layout, tuple(axes.split(",")))


@dataclass(frozen=True)
class Option:
    name: str
    kind: str  # double, int, bool, int2
    default: str | None

    @property
    def usual(self) -> Any:
        """The default as a value, None where there is none."""
        if self.default is None:
            return None
        value = float(self.default)
        return value if self.kind == "double" else (int(value),) * 2 if self.kind == "int2" else int(value)


@dataclass(frozen=True)
class Signature:
    name: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    options: tuple[Option, ...]

    def output_shapes(self, shapes: Sequence[Shape | None], options: Sequence[Any]) -> list[Shape | None]:
        """The outputs' shapes, None for one that makes no sense. Sizes may be symbols: none is compared."""
        sizes: dict[str, Any] = {}
        lead: Shape = ()
        given = {a.name: shape for a, shape in zip(self.inputs, shapes, strict=True)}
        for a in self.inputs:
            shape = given[a.name]
            if shape is None:
                continue
            star = next((i for i, axis in enumerate(a.axes) if axis[0] == "*"), None)
            fixed = list(a.axes)
            rest = list(shape)
            if len(shape) < len(fixed) - (star is not None) or (star is None and len(shape) > len(fixed)):
                raise ValueError(f"{self.name}: {a.name} has shape {list(shape)}, needs [{', '.join(fixed)}]")
            if star is not None:
                count = len(shape) - len(a.axes) + 1
                lead = broadcast(lead, tuple(rest[star : star + count]))
                del fixed[star], rest[star : star + count]
            for axis, size in zip(fixed, rest, strict=True):
                if axis[-1] != "^":
                    sizes.setdefault(axis, size)
        if self.name == "conv2d_forward":
            (sh, sw), (ph, pw), (dh, dw), _ = options
            sizes["out_h"] = (sizes["h"] + 2 * ph - dh * (sizes["r"] - 1) - 1) // sh + 1
            sizes["out_w"] = (sizes["w"] + 2 * pw - dw * (sizes["s"] - 1) - 1) // sw + 1
        if self.name == "conv_transpose2d_forward":
            (sh, sw), (ph, pw), (eh, ew), (dh, dw), groups = options
            sizes["c"] = sizes["group_c"] * groups
            sizes["out_h"] = (sizes["h"] - 1) * sh - 2 * ph + dh * (sizes["r"] - 1) + eh + 1
            sizes["out_w"] = (sizes["w"] - 1) * sw - 2 * pw + dw * (sizes["s"] - 1) + ew + 1
        if self.name in ("max_pool2d_forward", "avg_pool2d_forward"):
            named = {"dilation": (1, 1)} | {o.name: value for o, value in zip(self.options, options, strict=True)}
            windows = (named[name] for name in ("kernel", "stride", "padding", "dilation"))
            for size, pooled, kernel, stride, pad, step in zip("hw", ("out_h", "out_w"), *windows, strict=True):
                sizes[pooled] = _pooled(sizes[size], kernel, stride or kernel, pad, step, named["ceil_mode"])
        if self.name == "group_norm_forward":
            sizes["groups"] = options[0]
        out: list[Shape | None] = []
        for a in self.outputs:
            if a.axes[0].startswith("="):
                out.append(given[a.axes[0][1:]])
            else:
                out.append(tuple(size for axis in a.axes for size in (lead if axis == "*" else (sizes[axis],))))
        return out


def _pooled(size: Any, kernel: int, stride: int, pad: int, step: int, ceil: bool) -> Any:
    outputs = (size + 2 * pad - step * (kernel - 1) - 1 + (stride - 1 if ceil else 0)) // stride + 1
    return outputs - 1 if ceil and (outputs - 1) * stride >= size + pad else outputs  # the last begins inside


def broadcast(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(y if isinstance(x, int) and x == 1 else x for x, y in zip(a, b, strict=True))


def _option(text: str) -> Option:
    name, rest = text.split(":", 1)
    kind, _, default = rest.partition("=")
    return Option(name, kind, default or None)


SIGNATURES: dict[str, Signature] = {
    name: Signature(
        name,
        tuple(map(Argument.parse, inputs.split())),
        tuple(map(Argument.parse, outputs.split())),
        tuple(map(_option, options.split())),
    )
    for name, inputs, outputs, options in _kernels._described
}
