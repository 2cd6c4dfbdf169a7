"""Tensors: reshaping, transposing and extracting change a description, not the data (section 2.2).

A tensor is a storage and a way to walk through it: shape, stride, offset. Most operations on shapes make a second
description of the same storage, which costs the same however large the tensor is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor

from .demo import BLUE, RED, Demo

# A batch of fifty RGB images of 32 x 24 pixels, channels first: 50 x 3 x 24 x 32.
SHAPE = (50, 3, 24, 32)

# Each with the shape it must have and the element of the batch that must be its last.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "reshape": lambda x: x.reshape(50, -1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(3, (4, 8)),
    "transpose": lambda x: x.transpose(2, 3),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "select": lambda x: x[7],
    "slice": lambda x: x[10:20, :, 4:20, 4:28],
    "slice with steps": lambda x: x[::2, :, ::2, ::2],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "expand": lambda x: x[:, :1].expand(50, 3, 24, 32),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "chunk": lambda x: x.chunk(5)[3],
    "unbind": lambda x: x.unbind(1)[2],
    "diagonal": lambda x: x.diagonal(0, 2, 3),
}

AS_NUMPY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "reshape": lambda x: x.reshape(50, -1),
    "flatten": lambda x: x.reshape(50, -1),
    "unflatten": lambda x: x.reshape(50, 3, 24, 4, 8),
    "transpose": lambda x: x.swapaxes(2, 3),
    "permute": lambda x: x.transpose(0, 2, 3, 1),
    "select": lambda x: x[7],
    "slice": lambda x: x[10:20, :, 4:20, 4:28],
    "slice with steps": lambda x: x[::2, :, ::2, ::2],
    "narrow": lambda x: x[:, 1:3],
    "expand": lambda x: np.broadcast_to(x[:, :1], SHAPE),
    "unsqueeze": lambda x: x[:, None],
    "squeeze": lambda x: x[0],
    "chunk": lambda x: x[30:40],
    "unbind": lambda x: x[:, 2],
    "diagonal": lambda x: x.diagonal(0, 2, 3),
}


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def run(demo: Demo) -> None:
    batch = lc.arange(50 * 3 * 24 * 32).float().reshape(*SHAPE)
    first, end = batch.data_ptr(), batch.data_ptr() + batch.nbytes
    before = lc.memory.stats()["live_bytes"]
    views = {name: view(batch) for name, view in VIEWS.items()}
    demo.metric("bytes allocated by the views", lc.memory.stats()["live_bytes"] - before, at_most=0)
    inside = sum(first <= view.data_ptr() < end for view in views.values())
    demo.metric(f"views inside the batch's storage, of {len(views)}", inside, at_least=len(views))
    right = sum(np.array_equal(views[name].numpy(), AS_NUMPY[name](batch.numpy())) for name in VIEWS)
    demo.metric("views with the right elements", right, at_least=len(views))
    views["transpose"][0, 0, 0, 5] = -1.0  # written through the view: column 0, row 5
    demo.metric("element of the batch after a write through its view", batch[0, 0, 5, 0].item(), within=(-1, -1))

    sizes = [2**k for k in range(10, demo.pick(25, 29), 2)]  # elements; at most 64 MB, or 1 GB
    viewing, copying = [], []
    for size in demo.progress(sizes, "timing"):
        x = lc.empty(size).reshape(-1, 32)
        viewing.append(seconds(lambda x=x: x.transpose(0, 1), 50))  # type: ignore[misc]
        copying.append(seconds(lambda x=x: x.transpose(0, 1).contiguous(), 3))  # type: ignore[misc]
    demo.metric("time of a view, largest / smallest tensor", viewing[-1] / viewing[0], at_most=10)
    demo.metric("time of a copy / of a view, largest tensor", copying[-1] / viewing[-1], at_least=100)

    figure = demo.figure("view_and_copy", "Transposing as a view takes the same time at every size; copying does not.")
    axes = figure.subplots()
    megabytes = [4 * size / 1e6 for size in sizes]
    axes.loglog(megabytes, [1e6 * t for t in copying], "o-", color=RED, label="copy (transpose, then contiguous)")
    axes.loglog(megabytes, [1e6 * t for t in viewing], "o-", color=BLUE, label="view (transpose)")
    axes.set(xlabel="size of the tensor (MB)", ylabel="time (µs)")
    axes.legend()
