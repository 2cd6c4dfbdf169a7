"""Breakout on ten by ten squares: deep Q-learning from what is seen, within a minute (section 6.7, figure 6.5).

The game is MinAtar's (Young and Tian, MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible Reinforcement
Learning Experiments, 2019): a ball moves diagonally, a paddle of one square has to be below it, three rows of bricks
give a point each. A convolutional network sees paddle, ball, where the ball was and bricks as four images. It learns as
in Mnih et al. (Human-level control through deep reinforcement learning, Nature 2015): from transitions that are kept,
towards a frozen copy of itself. What it holds a state to be worth rises while the ball is on its way up to a brick, and
falls when the point is made.

The next program plays Atari's own Breakout from its screen, for which a minute is too short.
"""

from __future__ import annotations

import math

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn

from .demo import BLACK, BLUE, GREY, ORANGE, RED, Demo
from .fit import fit

SIDE, BRICKS = 10, slice(1, 4)  # rows of bricks
MOVES = np.array([0, -1, 1])  # of the paddle
GAMES, BATCH = 32, 64  # games side by side, transitions a step
DISCOUNT, FREEZE, EVERY = 0.95, 100, 100


def run(demo: Demo) -> None:
    demo.metric("points of a game at random, mean of 64", play(None, 64)[1].sum(0).mean())
    scores: list[float] = []
    model = learn(demo, scores)
    seen, points = play(model, 64)
    demo.metric("points of a game after learning, mean of 64", points.sum(0).mean(), at_least=demo.pick(4, 10))
    show(demo, model, scores, seen, points)


# ---- the game --------------------------------------------------------------------------------------------------------


class Breakout:
    """`count` games side by side; one that is lost starts anew."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self.random, self.every = random, np.arange(count)
        self.x, self.y, self.dx, self.dy, self.paddle = np.zeros((5, count), np.int64)
        self.before = np.zeros((2, count), np.int64)  # where the ball was: y, x
        self.struck = np.zeros(count, bool)  # a brick in the last step; the next one is passed by
        self.bricks = np.zeros((count, SIDE, SIDE), bool)
        self.start(np.ones(count, bool))

    def start(self, which: np.ndarray) -> None:
        side = self.random.integers(0, 2, len(which))
        for values, first in ((self.x, side * (SIDE - 1)), (self.y, 3), (self.dx, 1 - 2 * side), (self.dy, 1),
                              (self.paddle, 4), (self.struck, False)):  # fmt: skip
            values[which] = np.broadcast_to(first, which.shape)[which]
        self.bricks[which] = False
        self.bricks[which, BRICKS] = True
        self.before[:, which] = self.y[which], self.x[which]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points made, and whether the ball was lost.    [count] -> 2 x [count]"""
        self.paddle = (self.paddle + MOVES[action]).clip(0, SIDE - 1)
        old_x, old_y = self.x, self.y
        x, y = old_x + self.dx, old_y + self.dy
        self.dx = np.where((x < 0) | (x >= SIDE), -self.dx, self.dx)
        x, above = x.clip(0, SIDE - 1), y < 0
        y = y.clip(0)
        brick = self.bricks[self.every, y, x] & ~above
        point = brick & ~self.struck
        self.bricks[self.every[point], y[point], x[point]] = False
        low = y == SIDE - 1
        self.bricks[low & ~self.bricks.any((1, 2)), BRICKS] = True  # all are gone: as many again
        caught, at_side = low & (old_x == self.paddle), low & (old_x != self.paddle) & (x == self.paddle)
        self.dx = np.where(at_side, -self.dx, self.dx)
        back = point | caught | at_side
        self.dy = np.where(back | above, -self.dy, self.dy)
        self.before = np.stack([old_y, old_x])
        self.x, self.y, self.struck = x, np.where(back, old_y, y), brick
        lost = low & ~back
        self.start(lost)
        return point, lost

    def seen(self) -> np.ndarray:
        """Paddle, ball, where the ball was, bricks.    bool [count, 4, SIDE, SIDE]"""
        planes = np.zeros((len(self.every), 4, SIDE, SIDE), bool)
        planes[self.every, 0, SIDE - 1, self.paddle] = True
        planes[self.every, 1, self.y, self.x] = True
        planes[self.every, 2, self.before[0], self.before[1]] = True
        planes[:, 3] = self.bricks
        return planes


def network() -> nn.Sequential:
    """What each action is worth.    [N, 4, SIDE, SIDE] -> [N, 3]"""
    return nn.Sequential(
        nn.Conv2d(4, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (SIDE - 2) ** 2, 128), nn.ReLU(),
        nn.Linear(128, len(MOVES)),
    )  # fmt: skip


def worth(model: nn.Module, seen: np.ndarray) -> Tensor:
    return model(lc.from_numpy(seen.astype(np.float32)))


# ---- learning --------------------------------------------------------------------------------------------------------


def learn(demo: Demo, scores: list[float]) -> nn.Module:
    """`scores`: the mean points of the last hundred games that ended, now and then."""
    model, frozen, random = network(), network(), np.random.default_rng(demo.seed)
    steps, kept = demo.pick((6000, 2000), (60_000, 8000))
    game = Breakout(GAMES, random)
    before = np.zeros((kept, GAMES, 4, SIDE, SIDE), bool)
    after = np.zeros_like(before)
    actions, points, lost = np.zeros((kept, GAMES), np.int64), *np.zeros((2, kept, GAMES), bool)
    made, ended, done = np.zeros(GAMES), list[float](), 0

    def act() -> None:
        nonlocal done
        explore = max(0.05, 1 - 5 * done / steps)
        seen = game.seen()
        with lc.no_grad():
            best = worth(model, seen).argmax(-1).numpy()
        action = np.where(random.random(GAMES) < explore, random.integers(0, len(MOVES), GAMES), best)
        at = done % kept
        before[at], actions[at] = seen, action
        points[at], lost[at] = game.step(action)
        after[at] = game.seen()
        np.add(made, points[at], out=made)
        ended.extend(made[lost[at]].tolist())
        made[lost[at]] = 0
        done += 1

    def loss() -> Tensor:
        if done % FREEZE == 0:
            frozen.load_state_dict(model.state_dict())
        if done % EVERY == 0:
            scores.append(float(np.mean(ended[-100:] or [0])))
        act()
        rows = random.integers(0, min(done, kept), BATCH), random.integers(0, GAMES, BATCH)
        with lc.no_grad():
            then = after[rows]
            choice = worth(model, then).argmax(-1, keepdim=True)
            future = worth(frozen, then).gather(-1, choice).squeeze(-1).numpy()
        target = lc.from_numpy((points[rows] + DISCOUNT * np.where(lost[rows], 0, future)).astype(np.float32))
        value = worth(model, before[rows]).gather(-1, lc.from_numpy(actions[rows]).unsqueeze(-1)).squeeze(-1)
        return (value - target).square().mean()

    fit(demo, model, loss, steps, 1e-3, "Breakout")
    return model


def play(model: nn.Module | None, count: int, steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """`count` games by the best actions, or at random, each until its ball is lost: what was seen, points made.

    [T, count, 4, SIDE, SIDE], [T, count]
    """
    random = np.random.default_rng(1)
    game, on = Breakout(count, random), np.ones(count, bool)
    seen: list[np.ndarray] = []
    points: list[np.ndarray] = []
    while on.any() and len(seen) < steps:
        seen.append(game.seen())
        with lc.no_grad():
            action = (random.integers(0, len(MOVES), count) if model is None
                      else worth(model, seen[-1]).argmax(-1).numpy())  # fmt: skip
        made, lost = game.step(action)
        points.append(made & on)
        on &= ~lost
    return np.array(seen), np.array(points)


# ---- what a state is worth -------------------------------------------------------------------------------------------


def show(demo: Demo, model: nn.Module, scores: list[float], seen: np.ndarray, points: np.ndarray) -> None:
    """The game with the most points, beside how it was learned."""
    from matplotlib.colors import ListedColormap

    best = int(points.sum(0).argmax())
    when = np.flatnonzero(points[:, best])
    end = min(int(when.max(initial=50)) + 10, len(seen))
    with lc.no_grad():
        values = worth(model, seen[:end, best]).amax(-1).numpy()
    before, later = (float(np.mean(values[(when + k).clip(max=end - 1)])) if len(when) else math.nan for k in (0, 1))
    demo.metric("value of the state as a point is made / a step later", before / later, at_least=1.2)

    figure = demo.figure(
        "value",
        "Above: points of the last hundred games while learning; what the states of one game are held to be worth, and "
        "when it made its points (dotted). Below: that game around one of them; paddle and ball black, where the ball "
        "was grey, bricks orange.",
        (9.6, 5.4),
    )
    above, below = figure.subfigures(2, 1, height_ratios=(1.4, 1))
    left, right = above.subplots(1, 2, width_ratios=(1, 2))
    left.plot(EVERY * np.arange(len(scores)), scores, color=BLUE)
    left.set(xlabel="step", ylabel="points of a game", ylim=(0, None))
    first = max(0, end - 160)
    right.plot(np.arange(first, end), values[first:], color=BLUE, linewidth=1.2)
    for k in when[when >= first]:
        right.axvline(k, color=RED, linestyle=":", linewidth=1)
    right.set(xlabel="step of the game", ylabel="value of the state")
    board = ListedColormap(("white", GREY, ORANGE, BLACK))
    middle = int(when[len(when) // 2]) if len(when) else 0
    for axes, k in zip(below.subplots(1, 6), np.arange(middle - 6, middle + 6, 2).clip(0, end - 1), strict=True):
        paddle, ball, trail, bricks = seen[k, best]
        axes.imshow(np.select([paddle | ball, bricks, trail], [3, 2, 1], 0), cmap=board, vmin=0, vmax=3)
        axes.set_title(f"value {values[k]:.2f}")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=GREY)
        axes.grid(False)
