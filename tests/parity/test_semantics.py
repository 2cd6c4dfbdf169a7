"""The same expression in littlecore and in PyTorch: the same shape, dtype and values, and errors where it has errors.

Values agree to 1e-6 only, since PyTorch is no oracle (tests/ops/ has those): this is about meaning, not accuracy.
"""

from __future__ import annotations

import inspect
from typing import Any

import check
import numpy as np
import pytest
from expressions import Expression
from expressions.networks import NETWORKS, REDUCTIONS
from expressions.tensors import CREATION, INDEXING, PROMOTION, SHAPES

import littlecore as lc

torch = pytest.importorskip("torch")


def cases() -> list[Any]:
    found = []
    for name, table in (
        ("creation", CREATION),
        ("indexing", INDEXING),
        ("shapes", SHAPES),
        ("promotion", PROMOTION),
        ("reductions", REDUCTIONS),
        ("networks", NETWORKS),
    ):
        for number, expression in enumerate(table):
            found.append(pytest.param(expression, id=f"{name}-{inspect.getsourcelines(expression)[1]}-{number}"))
    return found


def evaluate(expression: Expression, lib: Any) -> tuple[Any, Exception | None]:
    try:
        return expression(lib), None
    except (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError, ZeroDivisionError) as error:
        return None, error


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, lc.Tensor), f"{type(ours).__name__} where PyTorch has a tensor"
        assert tuple(ours.shape) == tuple(theirs.shape), f"shape {tuple(ours.shape)}, PyTorch {tuple(theirs.shape)}"
        assert check.dtype_name(ours) == check.dtype_name(theirs), f"{ours.dtype}, PyTorch {theirs.dtype}"
        a, b = ours.detach(), theirs.detach()
        if check.dtype_name(ours) == "bfloat16":
            a, b = a.to(lc.float32), b.to(torch.float32)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-6, atol=2e-6)
    elif isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), f"{len(ours)} results, PyTorch {len(theirs)}"
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    else:
        assert type(ours) is type(theirs) and ours == theirs, f"{ours!r}, PyTorch {theirs!r}"


@pytest.mark.vacuous
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", cases())
def test_means_what_it_means_in_pytorch(expression: Expression):
    theirs, refused = evaluate(expression, torch)
    ours, error = evaluate(expression, lc)
    text = inspect.getsource(expression).strip().removesuffix(",").removeprefix("lambda lib: ")
    if refused is not None:
        assert error is not None, f"{text}: PyTorch refuses ({type(refused).__name__}), we give {ours!r}"
        assert str(error), f"{text}: an error without a word"
        return
    assert error is None, f"{text}: {type(error).__name__}: {error}"
    try:
        compare(ours, theirs)
    except AssertionError as difference:
        raise AssertionError(f"{text}: {difference}") from None
