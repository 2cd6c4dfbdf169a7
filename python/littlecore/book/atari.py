"""Breakout from its screen: deep Q-learning on an Atari game (section 6.7, figure 6.5).

The network of Mnih et al. (Human-level control through deep reinforcement learning, Nature 2015) sees the last four
screens and nothing else. Its value of a state rises when the ball is on its way to a brick and falls when the point is
made, or the ball lost. The quick form shows that everything runs, from the screen to the curve; it learns for some
seconds, so next to nothing. `--full` plays and learns for a million steps, which takes a day or more on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, models
from littlecore.nn import functional as F

from .demo import BLUE, RED, Demo
from .fit import fit

FIRE, SKIP, BATCH = 1, 4, 32
DISCOUNT = 0.95


def run(demo: Demo) -> None:
    for size, count in (("nature", 1_686_180), ("small", 677_172)):
        found = sum(p.numel() for p in models.dqn(4, size=size).parameters())
        demo.metric(f"parameters of the network, {size}", found, within=(count, count))
    game = Game(demo.seed)
    demo.metric("actions in Breakout", len(game.actions), within=(4, 4))
    memory = Memory(demo.pick(3000, 100_000))
    model = learn(demo, game, memory)
    curve(demo, model, memory)
    demo.drawing("network", "The network that plays, on the last four images.", models.dqn(4), (1, 4, 84, 84))


# ---- the game --------------------------------------------------------------------------------------------------------


class Game:
    """Breakout; a step is SKIP screens long, and losing a ball ends an episode."""

    def __init__(self, seed: int) -> None:
        try:
            import ale_py
        except ImportError:
            raise ImportError('Breakout comes with ale-py: pip install "littlecore[book]"') from None
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", 0.0)
        rom: Any = ale_py.roms.get_rom_path("breakout")  # it lies in the package
        self.ale.loadROM(rom)
        self.actions = list(self.ale.getMinimalActionSet())
        self.new_ball()

    def new_ball(self) -> None:
        if self.ale.game_over():
            self.ale.reset_game()
        self.ale.act(self.actions[FIRE])

    def step(self, action: int) -> tuple[float, bool]:
        """Points, and whether the ball was lost."""
        before = self.ale.lives()
        points = sum(self.ale.act(self.actions[action]) for _ in range(SKIP))
        lost = self.ale.lives() < before or self.ale.game_over()
        if lost:
            self.new_ball()
        return float(points), lost

    def screen(self) -> np.ndarray:
        """The playing field at half its size, with a margin.    uint8 [84, 84]"""
        grey = self.ale.getScreenGrayscale()[32:192].reshape(80, 2, 80, 2)
        return np.pad(grey.max((1, 3)), 2)


class Memory:
    """The last screens, each kept once, with what was done and what came of it."""

    def __init__(self, capacity: int) -> None:
        self.screens = np.zeros((capacity, 84, 84), np.uint8)
        self.actions, self.rewards = np.zeros(capacity, np.int64), np.zeros(capacity, np.float32)
        self.lost = np.zeros(capacity, bool)
        self.count = 0

    def add(self, screen: np.ndarray, action: int, reward: float, lost: bool) -> None:
        at = self.count % len(self.screens)
        self.screens[at], self.actions[at], self.rewards[at], self.lost[at] = screen, action, reward, lost
        self.count += 1

    def states(self, when: np.ndarray) -> Tensor:
        """The four screens up to each moment.    [N] -> [N, 4, 84, 84]"""
        stack = self.screens[(when[:, None] + np.arange(-3, 1)) % len(self.screens)]
        return lc.from_numpy(stack).float() / 255

    def moments(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Some of those of which the three before and the one after are known; half of them shortly before a point.

        Points are rare, and what leads to one is soon learned if it is seen often (after Schaul et al., Prioritized
        Experience Replay, ICLR 2016).
        """
        first = max(0, self.count - len(self.screens)) + 3
        when = random.integers(first, self.count - 1, count)
        made = np.flatnonzero(self.rewards)
        if len(made):
            made = made + (self.count - 1 - made) // len(self.screens) * len(self.screens)  # when it was last written
            near = random.choice(made, count // 2) - random.integers(0, 12, count // 2)
            when[: count // 2] = near.clip(first, self.count - 2)
        return when


# ---- learning --------------------------------------------------------------------------------------------------------


def learn(demo: Demo, game: Game, memory: Memory) -> models.DQN:
    """Play with fewer and fewer random moves; after every few steps learn from a batch of all kept ones."""
    model, frozen = models.dqn(len(game.actions)), models.dqn(len(game.actions))
    random = np.random.default_rng(demo.seed)
    begin, updates, every = demo.pick((1500, 60, 1), (20_000, 250_000, 4))
    done = 0

    def play(steps: int, explore: float) -> None:
        for _ in range(steps):
            screen = game.screen()
            memory.screens[memory.count % len(memory.screens)] = screen
            if random.random() < explore:
                action = int(random.integers(len(game.actions)))
            else:
                with lc.no_grad():
                    action = int(model(memory.states(np.array([memory.count]))).argmax().item())
            memory.add(screen, action, *game.step(action))

    def loss() -> Tensor:
        nonlocal done
        if done % demo.pick(50, 2500) == 0:
            frozen.load_state_dict(model.state_dict())
        done += 1
        play(every, max(0.1, 1 - done / demo.pick(1000, 100_000)))
        when = memory.moments(BATCH, random)
        rows = when % len(memory.screens)
        with lc.no_grad():
            future = frozen(memory.states(when + 1)).amax(-1)
        target = lc.from_numpy(memory.rewards[rows]) + DISCOUNT * lc.where(
            lc.from_numpy(memory.lost[rows]), 0.0, future
        )
        value = model(memory.states(when)).gather(-1, lc.from_numpy(memory.actions[rows]).unsqueeze(-1)).squeeze(-1)
        return F.huber_loss(value, target)

    play(begin, 1.0)
    fit(demo, model, loss, updates, demo.pick(5e-4, 1e-4), "Breakout")
    return model


def curve(demo: Demo, model: models.DQN, memory: Memory) -> None:
    """What every moment of the last play was worth, beside the points that were made."""
    last = np.arange(max(3, memory.count - 1500), memory.count)
    with lc.no_grad():
        values = np.concatenate([model(memory.states(part)).amax(-1).numpy() for part in np.array_split(last, 15)])
    points = memory.rewards[last % len(memory.screens)] > 0
    soon = np.zeros(len(last), bool)
    for ahead in range(6):
        soon[: len(last) - ahead] |= points[ahead:]
    demo.metric("points made", float(memory.rewards.sum()), at_least=1)
    demo.metric("balls lost", float(memory.lost.sum()), at_least=1)
    screens = memory.screens[last % len(memory.screens)]
    changed = (screens[1:] != screens[:-1]).any((1, 2))
    demo.metric("share of steps in which the screen changes", float(changed.mean()), at_least=0.9)
    demo.metric("value within 5 steps before a point - elsewhere", float(values[soon].mean() - values[~soon].mean()))

    figure = demo.figure(
        "value",
        "Above: the value of the state, while points are made (dotted). Below: three screens, just before a point, "
        "when it is made, and some steps later."
        + demo.pick(" After some seconds of learning the curve is noise yet: mind its scale.", ""),
        (9.6, 5.4),
    )
    above, *below = figure.subplot_mosaic([["v", "v", "v"], ["a", "b", "c"]], height_ratios=(1.2, 1)).values()
    made = np.flatnonzero(points)
    middle = int(made[len(made) // 2])
    shown = slice(max(0, middle - 150), middle + 150)
    above.plot(np.arange(len(last))[shown], values[shown], color=BLUE, linewidth=1.2)
    for k in made[(made >= shown.start) & (made < shown.stop)]:
        above.axvline(k, color=RED, linestyle=":", linewidth=1)
    above.set(xlabel="step", ylabel="value of the state")
    for axes, shift in zip(below, (-3, 0, 8), strict=True):
        axes.imshow(memory.screens[(last[middle] + shift) % len(memory.screens)], cmap="gray")
        axes.set_title(f"step {middle + shift}")
        axes.axis("off")
