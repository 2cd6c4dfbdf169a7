"""views: the elements NumPy's views show, at the same addresses, and gradients that are exact adjoints."""

import check
import numpy as np
import pytest
import reference.views as reference
from cases import Case, cases

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


def draw_view(case: Case, shape: tuple[int, ...]):
    """A view op that fits the shape: (on a tensor, on an array)."""
    random, n = case.random("parameters"), len(shape)
    dim = int(random.integers(-n, n)) if n else 0
    other = int(random.integers(-n, n)) if n else 0
    size = shape[dim] if n else 0
    low, high, step = (int(random.integers(-size - 2, size + 3)) for _ in range(2)), None, None
    low, high = low
    step = int(random.choice([1, 2, 3, -1, -2, -7]))
    start, index = int(random.integers(size + 1)), int(random.integers(size)) if size else 0
    length = int(random.integers(size - start + 1))
    order = [int(d) for d in random.permutation(n)]
    sizes = tuple(int(s) for s in random.permutation(shape))
    wider = (2, *(3 if s == 1 else -1 for s in shape))
    ops = {
        "reshape": (lambda x: x.reshape(sizes), lambda a: a.reshape(sizes)),
        "flat": (lambda x: x.reshape(-1), lambda a: a.reshape(a.size)),
        "unsqueeze": (lambda x: x.unsqueeze(dim), lambda a: np.expand_dims(a, dim)),
        "squeeze": (lambda x: x.squeeze(), lambda a: a.squeeze()),
        "permute": (lambda x: x.permute(order), lambda a: a.transpose(order)),
        "expand": (
            lambda x: x.expand(wider),
            lambda a: np.broadcast_to(a, [2, *(3 if s == 1 else s for s in shape)]),
        ),
        "transpose": (lambda x: x.transpose(dim, other), lambda a: a.swapaxes(dim, other) if n else a),
        "movedim": (lambda x: x.movedim(dim, other), lambda a: np.moveaxis(a, dim, other) if n else a),
        "slice": (
            lambda x: x[(slice(None),) * (dim % n) + (slice(low, high, step),)],
            lambda a: a[(slice(None),) * (dim % n) + (slice(low, high, step),)],
        ),
        "narrow": (lambda x: x.narrow(dim, start, length), lambda a: reference.narrow(a, dim, start, length)),
        "flatten": (lambda x: x.flatten(dim, -1), lambda a: reference.flatten(a, dim, -1)),
        "unflatten": (
            lambda x: x.unflatten(dim, (1, -1 if size else 0, 1)),
            lambda a: reference.unflatten(a, dim, (1, size, 1)),
        ),
        "select": (lambda x: x.select(dim, index - size), lambda a: reference.select(a, dim, index)),
        "diagonal": (
            lambda x: x.diagonal(low, dim, other),
            lambda a: np.diagonal(a, low, dim, other),
        ),
    }
    allowed = [
        name
        for name in ops
        if not (name in ("slice", "narrow", "flatten", "unflatten") and n == 0)
        and not (name == "select" and size == 0)
        and not (name == "diagonal" and (n < 2 or dim % n == other % n))
        and not (name == "unsqueeze" and n == 0 and dim != 0)
    ]
    return ops[case.pick("op", allowed)]


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


@cases(1200)
def test_values(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape = case.shape("shape", high=5, limit=600)
    x = case.tensor("x", shape, "integer", dtype=dtype)
    ours, theirs = draw_view(case, shape)
    y, a = ours(x), check.array(x)
    want = np.asarray(theirs(a))
    check.equal(y, want)
    if dtype != "bfloat16" and y.numel():
        shared = np.shares_memory(want, a)
        assert shared == (y.data_ptr() == address(want)) and (
            shared or case.drawn["op"] in ("reshape", "flat", "flatten")
        )
    return y


@cases(600)
def test_gradients_are_adjoints(case: Case):
    shape = case.shape("shape", high=4, limit=200)
    x = case.tensor("x", shape, "integer")
    ours, _ = draw_view(case, shape)
    check.adjoint(ours, x, dy=case.tensor("dy", ours(x).shape, "integer"))


@cases(300)
def test_parts(case: Case):
    shape = case.shape("shape", low=1, high=4, limit=400)
    x = case.tensor("x", shape, "integer", grad=True)
    random = case.random("parameters")
    dim, count = int(random.integers(len(shape))), int(random.integers(1, 6))
    op = case.pick("op", ("split", "chunk", "unbind"))
    ys = x.unbind(dim) if op == "unbind" else getattr(x, op)(count, dim)
    want = (
        reference.unbind(check.array(x), dim) if op == "unbind" else getattr(reference, op)(check.array(x), count, dim)
    )
    assert isinstance(ys, tuple)
    if x.shape[dim] == 0:
        return
    assert len(ys) == len(want)
    for y, w in zip(ys, want, strict=True):
        check.equal(y, w)
        assert y.numel() == 0 or y.data_ptr() == address(w)

    dys = [case.tensor(f"dy{i}", y.shape, "integer") for i, y in enumerate(ys)]
    used = [i for i in range(len(ys)) if random.random() < 0.7] or [0]
    lc._core.backward([ys[i] for i in used], [dys[i] for i in used])
    join = np.stack if op == "unbind" else np.concatenate
    check.equal(x.grad, join([check.array(d) if i in used else 0 * check.array(d) for i, d in enumerate(dys)], dim))


@cases(600)
def test_reshape_copies_only_if_it_must(case: Case):
    shape = case.shape("shape", low=1, high=4, limit=300)
    x = case.tensor("x", shape, "integer", dtype="int64")
    if case.pick("permuted", (False, True)):
        x = x.permute([int(d) for d in case.random("order").permutation(len(shape))])
    random, left, sizes = case.random("sizes"), x.numel(), []
    while left > 1:
        factor = int(random.choice([d for d in range(1, left + 1) if left % d == 0]))
        sizes.append(factor)
        left //= factor
    sizes = sizes or [x.numel()]
    y, a = x.reshape(sizes), check.array(x)
    check.equal(y, a.reshape(sizes))
    if reference.shares_memory_when_reshaped(a, sizes):
        assert y.numel() == 0 or y.data_ptr() == x.data_ptr()
        check.equal(x.view(sizes), a.reshape(sizes))
    else:
        assert y.data_ptr() != x.data_ptr() and y.is_contiguous()
        with pytest.raises(ValueError, match="reshape"):
            x.view(sizes)


def test_views_share_memory():
    x = lc.arange(24).reshape(2, 3, 4)
    at = x.data_ptr()
    assert x.view(6, 4).data_ptr() == x.view(6, 4).T.data_ptr() == x.mT.data_ptr() == at
    assert x.transpose(0, 2).data_ptr() == x.permute(2, 0, 1).data_ptr() == x.expand(5, 2, 3, 4).data_ptr() == at
    assert x[1].data_ptr() == x.select(0, 1).data_ptr() == at + 12 * 8
    assert x[:, :, ::-1].data_ptr() == at + 3 * 8 and x[:, :, ::-1].stride() == (12, 4, -1)
    assert [part.data_ptr() for part in x.split(2, 1)] == [at, at + 8 * 8]
    y = x.view(-1)
    y[5] = 100
    assert x[0, 1, 1].item() == 100 and x._version == y._version > 0


def test_sixteen_dims_and_no_more():
    x = lc.arange(4).reshape([2] + [1] * 14 + [2])
    assert x.ndim == 16 and x.permute(list(range(15, -1, -1))).reshape(4).tolist() == [0, 2, 1, 3]
    with pytest.raises(ValueError, match="16"):
        x.unsqueeze(0)
    with pytest.raises(ValueError, match="16"):
        x.unflatten(0, (1, 2))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x.view(5, -1), ValueError, "24 elements"),
        (lambda x: x.reshape(-1, -1), ValueError, "only one size may be -1"),
        (lambda x: x.reshape(-2, 12), ValueError, "negative"),
        (lambda x: x.reshape(2**40, 2**40), ValueError, "more elements"),
        (lambda x: x[:0].reshape(-1, 0), ValueError, "any size"),
        (lambda x: x.expand(2**40, 2**40, 2, 3, 4), ValueError, "more elements"),
        (lambda x: x.expand(2, 5, 4), ValueError, "does not broadcast"),
        (lambda x: x.expand(3, 4), ValueError, "fewer dims"),
        (lambda x: x.broadcast_to((-1, 3, 4)), ValueError, "negative"),
        (lambda x: x.transpose(0, 3), IndexError, "dim 3 is out of range"),
        (lambda x: x.permute(0, 1), ValueError, "does not name"),
        (lambda x: x.permute(0, 1, 1), ValueError, "twice"),
        (lambda x: x.movedim((0, 0), (1, 2)), ValueError, "twice"),
        (lambda x: x.select(1, 3), IndexError, r"index 3 .* dim 1 of size 3"),
        (lambda x: x.narrow(2, 3, 2), IndexError, r"start 3 and length 2"),
        (lambda x: x.split(0), ValueError, "positive"),
        (lambda x: x.split([1, 2], 2), ValueError, "leave 1 over"),
        (lambda x: x.split([3, 2], 2), ValueError, "part size 2 where 1 is left"),
        (lambda x: x.chunk(0), ValueError, "positive"),
        (lambda x: x.flatten(2, 1), ValueError, "comes after"),
        (lambda x: x.unflatten(2, (3, -1)), ValueError, "cannot become|any size|4 elements"),
        (lambda x: x.diagonal(0, 1, -2), ValueError, "both"),
        (lambda x: x.T, ValueError, "mT"),
        (lambda x: x[0, 0].mT, ValueError, "at least 2"),
        (lambda x: x[0, 0, 0].unbind(), IndexError, "0-d"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.arange(24).reshape(2, 3, 4))


def test_a_view_of_a_leaf_cannot_be_written():
    x = lc.zeros(3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        x[0][1] = 2
    with lc.no_grad():
        x[0][1] = 2
    assert x[0, 1].item() == 2


def test_extreme_slices():
    x = lc.arange(5)
    assert x[2**62 :].tolist() == [] and x[-(2**62) :: 2**62].tolist() == [0]
    assert x[:: -(2**62)].tolist() == [4] and x[2**63 - 1 : -(2**63) : -(2**63) + 1].tolist() == [4]
    check.equal(lc.zeros(3, 0)[:, ::-1], np.zeros((3, 0), np.float32))
    check.equal(x[::-1][1:4:2], np.arange(5)[::-1][1:4:2])


def test_an_expanded_view_cannot_be_written():
    with pytest.raises(ValueError, match="expanded"):
        lc.zeros(1, 3).expand(2, 3)[0] = 1
