"""optim_step: one pass over parameters, gradients and state; a step over 65 tensors as a GPT has them."""

import numpy as np
from bench.harness import Case, Work, normal

SHAPES = [(384, 1152), (384, 384), (384, 1536), (1536, 384), (384,), (384,), (1152,), (1536,)] * 8 + [(65, 384)]
COUNT = sum(int(np.prod(s)) for s in SHAPES)


def case(name: str, floats: int, **options: float) -> Case:
    """floats: read and written a parameter."""

    def setup(lib, *tensors):
        parameters = [lib.nn.Parameter(t) for t in tensors]
        for p in parameters:
            p.grad = lib.full_like(p.detach(), 0.01)
        return [getattr(lib.optim, name)(parameters, lr=1e-3, **options), parameters[0]]

    def call(lib, optimizer, first):
        optimizer.step()
        return first

    return Case(name, call, [normal(*s) for s in SHAPES], step=Work(updated=4 * floats * COUNT), setup=setup)


def cases() -> list[Case]:
    return [case("SGD", 3), case("Adam", 7), case("AdamW", 7)]
