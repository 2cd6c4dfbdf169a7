"""einsum: exact in integers for many equations, gradients, refusals."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.einsum import einsum_forward

import littlecore as lc

EQUATIONS = (
    "i->i", "i->", "ij->ji", "ij->j", "ij->", "ii->i", "ii->", "iij->ij", "ijk->kij",
    "i,i->", "i,i->i", "i,j->ij", "ij,j->i", "ij,jk->ik", "ij,jk", "ij,kj->ik", "ji,kj->ki", "ij,ij->ij", "ij,ij->",
    "bij,bjk->bik", "bhid,bhjd->bhij", "bhij,bhjd->bhid", "bij,jk->bik", "ij,bjk->bki", "bi,bj->bij", "bi,i->b",
    "ijk,ilm,njm->nlk", "ij,jk,kl->il", "ij,j,j->i", "a,b,c->abc", "ab,bc,ca->", "iij,jk->ik",
    "...i,...i->...", "...ij,...jk->...ik", "...ij,jk->...ik", "i...,i...->...", "...,...->...", "b...i,ij->b...j",
)  # fmt: skip


def draw(case: Case, equation: str, values: str = "integer", grad: bool = False):
    sizes = {letter: case.size(letter, high=9) for letter in sorted(set(equation) - set(".,-> "))}
    under = case.pick("under", ((), (3,), (2, 3)))
    operands = []
    for i, term in enumerate(equation.split("->")[0].split(",")):
        shape = []
        for part in term.replace("...", ".").strip():
            shape += list(under) if part == "." else [sizes[part]]
        operands.append(case.tensor(f"x{i}", shape, values, bound=2, grad=grad))
    return operands


@cases(700)
def test_integers_are_exact(case: Case):
    equation = case.pick("equation", EQUATIONS)
    operands = draw(case, equation)
    y = lc.einsum(equation, *operands)
    check.equal(y, einsum_forward(equation, *[check.wide(x) for x in operands]))
    return y


@pytest.mark.vacuous  # most of a batched product's Jacobian is zero
@pytest.mark.parametrize("equation", EQUATIONS)
def test_gradients(equation):
    random = np.random.default_rng(0)
    letters = sorted(set(equation) - set(".,-> "))
    sizes = {letter: 2 + i % 2 for i, letter in enumerate(letters)}
    operands = []
    for term in equation.split("->")[0].split(","):
        shape = []
        for part in term.replace("...", "."):
            shape += [2] if part == "." else [sizes[part]]
        operands.append(random.standard_normal(shape))
    check.gradients(lambda *xs: lc.einsum(equation, *xs), *operands)


def test_an_axis_of_size_one_broadcasts():
    a, b = np.arange(1.0, 7).reshape(2, 3), np.arange(1.0, 5).reshape(1, 4)
    got = lc.einsum("ij,ik->jk", lc.from_numpy(a), lc.from_numpy(b))
    check.equal(got, np.einsum("ij,k->jk", a, b[0]))


def test_operands_may_come_as_a_list():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    check.equal(lc.einsum("ij,jk->ik", [lc.from_numpy(a), lc.from_numpy(b)]), a @ b)


@pytest.mark.parametrize(
    "equation, text",
    [
        ("ij,jk->ik,", "unexpected ','"),
        ("ij->ik", "names 1 operands, 2 were given"),
        ("ij,j->i", "operand 1 has 2 axes"),
        ("ij,ki->k", "names axes of sizes"),
        ("ij,jk->iik", "stands twice in the output"),
        ("ij,jk->iz", "is in no operand"),
        ("i1,jk->ik", "unexpected '1'"),
        ("......ij,jk->ik", "two ellipses"),
    ],
)
def test_wrong_equations_are_refused(equation, text):
    with pytest.raises(ValueError, match=text):
        lc.einsum(equation, lc.ones(2, 3), lc.ones(3, 4))
