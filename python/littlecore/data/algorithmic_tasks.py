"""Sequences that one can only continue by computing: tasks of Fleuret's picoclvr, drawn at random.

    addition    123+456=9750                   two numbers, and their sum, units first
    stack       a3b5A3a7B5A7                   a and b push a digit on one of two stacks, A and B pop the last
    expr        B=3;D=B+4;A=D*B;B:03D:07A:21   assignments of digits and variables, and what the variables then are
    maze        ..S#....G  ..S#.**.G           cells, empty or walls, start and goal; the same with a shortest path

Every task draws tokens int64 [count, length], characters of its `alphabet` by their places, and `asked`, bool of that
shape: the tokens that follow from those before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Random = np.random.Generator


@dataclass(frozen=True)
class AlgorithmicTask:
    """A name, the characters of its tokens, and draw(random, count) -> tokens, asked."""

    name: str
    alphabet: str
    draw: Callable[[Random, int], tuple[Array, Array]]

    def text(self, tokens: Array) -> str:
        """The characters of one sequence."""
        return "".join(self.alphabet[token] for token in tokens.tolist())


def digits_of(numbers: Array, count: int) -> Array:
    """[...] -> [..., count], the highest first"""
    return numbers[..., None] // 10 ** np.arange(count)[::-1] % 10


# ---- addition --------------------------------------------------------------------------------------------------------


def addition(digits: int = 3) -> AlgorithmicTask:
    """The sum of two numbers of so many digits; its units come first, so that a carry is known when it is needed."""

    def draw(random: Random, count: int) -> tuple[Array, Array]:
        a, b = random.integers(0, 10**digits, (2, count))
        plus, equals = (np.full((count, 1), sign) for sign in (10, 11))
        total = digits_of(a + b, digits + 1)[:, ::-1]
        tokens = np.concatenate([digits_of(a, digits), plus, digits_of(b, digits), equals, total], 1)
        asked = np.zeros(tokens.shape, bool)
        asked[:, -digits - 1 :] = True
        return tokens, asked

    return AlgorithmicTask("addition", "0123456789+=", draw)


# ---- stack -----------------------------------------------------------------------------------------------------------


def stack(steps: int = 10, stacks: int = 2) -> AlgorithmicTask:
    """Digits pushed on stacks and popped from them, half of the operations each where a stack holds something."""
    alphabet = "0123456789" + "abcdefgh"[:stacks] + "ABCDEFGH"[:stacks]

    def draw(random: Random, count: int) -> tuple[Array, Array]:
        held = np.zeros((count, stacks, steps), np.int64)
        heights = np.zeros((count, stacks), np.int64)
        tokens = np.zeros((count, steps, 2), np.int64)
        asked = np.zeros((count, steps, 2), bool)
        rows = np.arange(count)
        for step in range(steps):
            which, digit = random.integers(0, stacks, count), random.integers(0, 10, count)
            height = heights[rows, which]
            pop = (random.random(count) < 0.5) & (height > 0)
            value = np.where(pop, held[rows, which, height - 1], digit)
            held[rows[~pop], which[~pop], height[~pop]] = digit[~pop]
            heights[rows, which] += np.where(pop, -1, 1)
            tokens[:, step] = np.stack([10 + which + stacks * pop, value], 1)
            asked[:, step, 1] = pop
        return tokens.reshape(count, -1), asked.reshape(count, -1)

    return AlgorithmicTask("stack", alphabet, draw)


# ---- expressions -----------------------------------------------------------------------------------------------------


def expr(assignments: int = 3, variables: int = 5, most: int = 99) -> AlgorithmicTask:
    """Assignments to different variables, the first of a digit, then of the sum or product of two operands.

    An operand is a digit or, half of the time, a variable that has a value. Results are at most `most`.
    """
    names = "ABCDEFGHIJ"[:variables]
    alphabet = "0123456789" + names + "+*=;:"
    plus, equals, end, colon = (alphabet.index(sign) for sign in "+=;:")

    def some(random: Random, count: int) -> tuple[Array, Array]:
        """Programs, and whether their results are small enough."""
        order = random.permuted(np.tile(np.arange(variables), (count, 1)), axis=1)[:, :assignments]
        values = np.zeros((count, assignments), np.int64)
        rows, parts = np.arange(count), []

        def column(token: int) -> Array:
            return np.full(count, token)

        for step in range(assignments):
            shown, known = [], []
            for _ in range(1 if step == 0 else 2):
                digit, earlier = random.integers(0, 10, count), random.integers(0, max(step, 1), count)
                variable = (random.random(count) < 0.5) & (step > 0)
                shown.append(np.where(variable, 10 + order[rows, earlier], digit))
                known.append(np.where(variable, values[rows, earlier], digit))
            parts += [10 + order[:, step], column(equals), shown[0]]
            values[:, step] = known[0]
            if step > 0:
                times = random.integers(0, 2, count)
                parts += [plus + times, shown[1]]
                values[:, step] = np.where(times, known[0] * known[1], known[0] + known[1])
            parts.append(column(end))
        for step in range(assignments):
            parts += [10 + order[:, step], column(colon), *digits_of(values[:, step], len(str(most))).T]
        return np.stack(parts, 1), np.asarray((values <= most).all(1))

    def draw(random: Random, count: int) -> tuple[Array, Array]:
        found: list[Array] = []
        while sum(map(len, found)) < count:
            tokens, small = some(random, 2 * count)
            found.append(tokens[small])
        tokens = np.concatenate(found)[:count]
        asked = np.zeros(tokens.shape, bool)
        asked[:, -assignments * (2 + len(str(most))) :] = True
        return tokens, asked

    return AlgorithmicTask("expr", alphabet, draw)


# ---- mazes -----------------------------------------------------------------------------------------------------------


def distances(walls: Array, goal: Array) -> Array:
    """Steps to the goal from every cell, walls.size where there is no way.    bool [N, H, W] x2 -> int64 [N, H, W]"""
    far = walls[0].size
    found = np.pad(np.where(goal, 0, far), ((0, 0), (1, 1), (1, 1)), constant_values=far)
    inside = found[:, 1:-1, 1:-1]
    while True:
        near = np.minimum.reduce([found[:, :-2, 1:-1], found[:, 2:, 1:-1], found[:, 1:-1, :-2], found[:, 1:-1, 2:]])
        nearer = np.where(walls, far, np.minimum(inside, near + 1))
        if (nearer == inside).all():
            return nearer
        inside[:] = nearer


def maze(height: int = 5, width: int = 5, walls: float = 0.3) -> AlgorithmicTask:
    """A grid with a start and a goal at least 3 steps apart, and the same grid with a shortest way between them.

    Of ways of the same length, the one that goes up where it can, else left, else right, else down.
    """
    wall, start, goal, path = range(1, 5)  # 0 is empty
    size = height * width

    def some(random: Random, count: int) -> tuple[Array, Array, Array]:
        """Mazes with their paths, and whether they are solvable and not too easy."""
        cells = (random.random((count, size)) < walls).astype(np.int64)
        ends = random.permuted(np.tile(np.arange(size), (count, 1)), axis=1)[:, :2]
        np.put_along_axis(cells, ends, np.array([[start, goal]]), 1)
        grid = cells.reshape(count, height, width)
        steps = distances(grid == wall, grid == goal).reshape(count, size)
        away = np.pad(steps.reshape(grid.shape), ((0, 0), (1, 1), (1, 1)), constant_values=size)
        length = np.take_along_axis(steps, ends[:, :1], 1)[:, 0]
        solved, here, rows = cells.copy(), ends[:, 0].copy(), np.arange(count)
        for _ in range(size):
            y, x = here // width + 1, here % width + 1
            ways = np.stack([away[rows, y + dy, x + dx] for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0))])
            best = ways.argmin(0)
            going = (steps[rows, here] > 1) & (ways.min(0) < size)
            here = np.where(going, here + np.array([-width, -1, 1, width])[best], here)
            solved[rows[going], here[going]] = path
        return cells, solved, (length >= 3) & (length < size)

    def draw(random: Random, count: int) -> tuple[Array, Array]:
        found: list[Array] = []
        while sum(map(len, found)) < count:
            cells, solved, good = some(random, 2 * count)
            found.append(np.concatenate([cells, solved], 1)[good])
        tokens = np.concatenate(found)[:count]
        asked = np.zeros(tokens.shape, bool)
        asked[:, size:] = True
        return tokens, asked

    return AlgorithmicTask("maze", ".#SG*", draw)
