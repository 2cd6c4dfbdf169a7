"""What the tasks ask for, worked out from the text of each sequence by other means."""

import re
from collections import deque

import numpy as np
import pytest

from littlecore.data import algorithmic_tasks as tasks


def drawn(task, count=300, seed=0):
    """(text, which of it is asked for) of every sequence."""
    tokens, asked = task.draw(np.random.default_rng(seed), count)
    assert tokens.shape == asked.shape and tokens.dtype == np.int64 and len(tokens) == count
    again, _ = task.draw(np.random.default_rng(seed), count)
    np.testing.assert_array_equal(tokens, again)
    return [(task.text(row), mask) for row, mask in zip(tokens, asked, strict=True)]


def picked(text, asked):
    return "".join(character for character, wanted in zip(text, asked, strict=True) if wanted)


@pytest.mark.parametrize("digits", [1, 3])
def test_addition(digits):
    for text, asked in drawn(tasks.addition(digits)):
        a, b, total = re.fullmatch(rf"(\d{{{digits}}})\+(\d{{{digits}}})=(\d{{{digits + 1}}})", text).groups()
        assert int(a) + int(b) == int(total[::-1])
        assert picked(text, asked) == total


@pytest.mark.parametrize("stacks", [1, 3])
def test_stack(stacks):
    popped = 0
    for text, asked in drawn(tasks.stack(12, stacks)):
        held, wanted = {name: [] for name in "abc"}, ""
        for operation, digit in zip(text[::2], text[1::2], strict=True):
            assert operation.lower() in "abc"[:stacks]
            if operation.islower():
                held[operation].append(digit)
            else:
                assert held[operation.lower()].pop() == digit
                wanted += digit
        assert picked(text, asked) == wanted
        assert not asked[::2].any()
        popped += len(wanted)
    assert popped > 300


@pytest.mark.parametrize(("assignments", "variables", "most"), [(2, 3, 99), (4, 5, 99), (3, 3, 9)])
def test_expr(assignments, variables, most):
    seen = set()
    for text, asked in drawn(tasks.expr(assignments, variables, most)):
        *program, results = text.split(";")
        values = {}
        for line in program:
            name, formula = line.split("=")
            assert name not in values
            values[name] = eval(formula, {}, dict(values))  # digits and names of earlier lines
        assert len(program) == assignments and max(values.values()) <= most
        assert results == "".join(f"{name}:{value:0{len(str(most))}d}" for name, value in values.items())
        assert picked(text, asked) == results
        seen.update(re.sub(r"[A-Z]", "X", re.sub(r"\d", "1", line)) for line in program)
    assert seen == {"X=1", "X=1+1", "X=1*1", "X=X+1", "X=X*1", "X=1+X", "X=1*X", "X=X+X", "X=X*X"}


def steps(cells, width):
    """Of a shortest way from S to G, by breadth-first search."""
    queue, away = deque([cells.index("S")]), {cells.index("S"): 0}
    while queue:
        here = queue.popleft()
        column = here % width
        aside = ((here - 1, column > 0), (here + 1, column < width - 1))
        for there, near in (*aside, (here - width, True), (here + width, True)):
            if near and 0 <= there < len(cells) and cells[there] != "#" and there not in away:
                away[there] = away[here] + 1
                queue.append(there)
    return away[cells.index("G")]


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 6)])
def test_maze(height, width):
    size, lengths = height * width, set()
    for text, asked in drawn(tasks.maze(height, width)):
        cells, solved = text[:size], text[size:]
        assert picked(text, asked) == solved
        assert cells.count("S") == cells.count("G") == 1 and solved.replace("*", ".") == cells
        length = steps(cells, width)
        assert length >= 3 and solved.count("*") == length - 1
        only = re.sub(r"\.", "#", solved).replace("*", ".")  # the path alone leads there, too
        assert steps(only, width) == length
        lengths.add(length)
    assert len(lengths) >= 4


def test_walls_without_a_way():
    walls = np.array([[[False, True, False], [False, True, False]]])
    goal = np.zeros((1, 2, 3), bool)
    goal[0, 0, 2] = True
    assert tasks.distances(walls, goal).tolist() == [[[6, 6, 0], [6, 6, 1]]]
