"""capture: a step recorded once and repeated without Python, the tape or an allocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core


def capture(step: Callable[..., Any]) -> _core.Captured:
    """`step` with the calls of its kernels recorded; later calls only repeat them, on the same memory.

        def step(x, target):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        step = lc.capture(step)
        for x, target in batches:
            loss = step(x, target)

    Every call is one step and gives the bits that `step` gives. The first call runs as it is, so that whatever is made
    once is there; the second records; from the third on the plan is replayed. A call with tensors of other shapes,
    dtypes or devices, other numbers, or another grad or autocast mode has a plan of its own. So has the step after a
    module or an optimizer changed (`train()`, an attribute, `load_state_dict`), or when `.grad` was not what it was at
    the recording.

    - Arguments: tensors, which are copied in, and plain values. Other tensors (parameters, state) are used where they
      are.
    - Results: tensors without history, the same ones at every call: the next step overwrites them. `clone()` what is to
      stay.
    - Seen at every replay: the memory of all tensors, `.grad`, the options of optimizers (a schedule of the learning
      rate), random generators. Not seen: what else Python does or decides in the step, such as printing, counting,
      `random.random()`, hooks; it happened at the recording.
    - RuntimeError at the recording: values read on the host (`item()`, `if loss > 2`, indices in tensors), results
      whose shape depends on values (`nonzero`, masks), a tensor of the step kept beyond it.

    On CUDA a replay is one launch of a CUDA graph on the current stream (`lc.cuda.launches()` counts them), with what
    changes from step to step (the optimizer's rate and count, the keys of random numbers) set in it before. Where the
    host has to wait within the step, for a tensor that moves from or to the CPU, there is a graph before and one
    behind. `LITTLECORE_SYNC=1` launches one by one.

    `step.reset()` gives the plans' memory back; `step.recorded` counts the recordings.
    """
    return _core.Captured(step)
