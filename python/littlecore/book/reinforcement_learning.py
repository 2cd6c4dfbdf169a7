"""Reinforcement learning: which action pays in the long run (section 6.7).

Q(s, a) is the sum of all rewards to come, each discounted by how far it lies ahead, if a is done in s and the best ever
after; so Q(s, a) = r + discount * max Q(s', .). On a grid world, Q-learning (Watkins, 1989) finds that table by trying,
and value iteration, which knows the rules, says what it should be. Where there are too many states for a table, a
network takes its place (Mnih et al., Human-level control through deep reinforcement learning, Nature 2015): a
transition is kept and learned from often, and the right-hand side comes from a frozen copy of the network, which keeps
the target from running away. The two sides of one maximum are told apart, the action chosen by the network and valued
by its copy (van Hasselt et al., Double Q-learning, AAAI 2016).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn

from .demo import BLACK, BLUE, COLOURS, GREY, RED, Demo
from .fit import fit


def run(demo: Demo) -> None:
    grid_world(demo)
    cart_pole(demo)


# ---- a table ---------------------------------------------------------------------------------------------------------

MAP = (
    "........",
    ".##.###.",
    ".#....#G",
    ".#.##.#x",
    "...x....",
)  # walls #, the goal G (+1), pits x (-1); both end the episode
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
HEIGHT, WIDTH = len(MAP), len(MAP[0])
DISCOUNT = 0.9


def move(state: int, action: int) -> tuple[int, float, bool]:
    """Where one gets, the reward, whether it is over."""
    (row, column), (down, right) = divmod(state, WIDTH), MOVES[action]
    to = (row + down, column + right)
    if not (0 <= to[0] < HEIGHT and 0 <= to[1] < WIDTH) or MAP[to[0]][to[1]] == "#":
        to = (row, column)
    field = MAP[to[0]][to[1]]
    return to[0] * WIDTH + to[1], {"G": 1.0, "x": -1.0}.get(field, 0.0), field in "Gx"


def free() -> list[int]:
    return [state for state in range(HEIGHT * WIDTH) if MAP[state // WIDTH][state % WIDTH] == "."]


def value_iteration() -> np.ndarray:
    """The table that satisfies the equation, by repeating it.    [states, actions]"""
    q = np.zeros((HEIGHT * WIDTH, len(MOVES)))
    for _ in range(200):
        best = q.max(1)
        for state in free():
            for action in range(len(MOVES)):
                to, reward, over = move(state, action)
                q[state, action] = reward + (0 if over else DISCOUNT * best[to])
    return q


def q_learning(steps: int, truth: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """The table after random walks, half of each new estimate taken; and its largest error every 500 steps."""
    q, errors = np.zeros_like(truth), []
    states = free()
    state = states[0]
    for step in range(steps):
        if step % 500 == 0:
            errors.append(float(np.abs(q - truth).max()))
        action = int(random.integers(len(MOVES)))
        to, reward, over = move(state, action)
        q[state, action] += 0.5 * (reward + (0 if over else DISCOUNT * q[to].max()) - q[state, action])
        state = int(random.choice(states)) if over or step % 50 == 0 else to
    return q, errors


def grid_world(demo: Demo) -> None:
    truth = value_iteration()
    q, errors = q_learning(demo.pick(40_000, 200_000), truth, np.random.default_rng(demo.seed))
    demo.metric("grid world, largest error of a table by trying", np.abs(q - truth).max(), at_most=1e-3)
    wrong = sum(truth[s, q[s].argmax()] < truth[s].max() - 1e-9 for s in free())
    demo.metric("grid world, states where the best action is not known", wrong, at_most=0)

    figure = demo.figure(
        "grid_world",
        "Left: the value of every state and the best action, as learned by trying (walls black, goal green, pits red). "
        "Right: the largest error of the table.",
        (9.6, 3.2),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    values = np.full((HEIGHT, WIDTH), np.nan)
    for state in free():
        (row, column), (down, across) = divmod(state, WIDTH), MOVES[int(q[state].argmax())]
        values[row, column] = q[state].max()
        style = {"arrowstyle": "->", "linewidth": 1.4, "color": "white" if values[row, column] < 0.6 else BLACK}
        left.annotate("", (column + 0.3 * across, row + 0.3 * down), (column - 0.3 * across, row - 0.3 * down),
                      arrowprops=style)  # fmt: skip
    left.imshow(values, vmin=0, vmax=1)
    for row, column in np.argwhere([[field != "." for field in line] for line in MAP]):
        colour = {"#": BLACK, "G": "#009E73", "x": RED}[MAP[row][column]]
        left.fill_between((column - 0.5, column + 0.5), row - 0.5, row + 0.5, color=colour, linewidth=0)
    left.set(xticks=[], yticks=[])
    left.grid(False)
    right.semilogy(500 * np.arange(len(errors)), errors, color=BLUE)
    right.set(xlabel="step", ylabel="largest error of Q")


# ---- a network -------------------------------------------------------------------------------------------------------

AGENTS, ENVIRONMENTS, BATCH = 5, 8, 64  # five agents that differ by chance alone, each with eight poles to balance
EVERY, FREEZE, EXAMINE = 50, 25, 400  # steps between two points of the curve, two copies, two exams
SCALE = (2.4, 2.0, 0.21, 2.0)  # position, speed, angle, its speed: about how large they get


class Agents(nn.Module):
    """Perceptrons side by side, one for each agent, trained by one loop.    [AGENTS, N, 4] -> [AGENTS, N, 2]"""

    def __init__(self, sizes: tuple[int, ...] = (4, 64, 64, 2)) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            weight = lc.empty(AGENTS, inputs, outputs)
            self.weights.append(nn.Parameter(nn.init.uniform_(weight, -(inputs**-0.5), inputs**-0.5)))
            self.biases.append(nn.Parameter(lc.zeros(AGENTS, 1, outputs)))

    def forward(self, x: Tensor) -> Tensor:
        x = x / lc.tensor(SCALE)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = lc.baddbmm(bias, x.relu() if k else x, weight)
        return x


class Replay:
    """The last transitions of every environment, to draw from at random."""

    def __init__(self, capacity: int) -> None:
        shape = (capacity, AGENTS, ENVIRONMENTS)
        self.before, self.after = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 4), np.float32)
        self.actions, self.rewards = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        self.ended, self.valid = np.zeros(shape, bool), np.zeros(shape, bool)
        self.count = 0

    def add(self, *fields: np.ndarray) -> None:
        """before, action, reward, after, ended, valid"""
        at = self.count % len(self.valid)
        kept: tuple[np.ndarray, ...] = (self.before, self.actions, self.rewards, self.after, self.ended, self.valid)
        for mine, field in zip(kept, fields, strict=True):
            mine[at] = field.reshape(mine[at].shape)
        self.count += 1

    def draw(self, random: np.random.Generator) -> list[Tensor]:
        """before [AGENTS, BATCH, 4], actions, rewards, after, ended; every agent from its own past."""
        when = random.integers(0, min(self.count, len(self.valid)), (AGENTS, BATCH))
        which = random.integers(0, ENVIRONMENTS, (AGENTS, BATCH))
        who = np.arange(AGENTS)[:, None]
        fields = (self.before, self.actions, self.rewards, self.after, self.ended, self.valid)
        return [lc.from_numpy(field[when, who, which]) for field in fields]


def poles(count: int) -> Any:
    """`count` poles on carts: a reward of 1 for each step that the pole stands, 500 steps at most."""
    try:
        import gymnasium
    except ImportError:
        raise ImportError('CartPole is gymnasium\'s: pip install "littlecore[book]"') from None
    return gymnasium.make_vec("CartPole-v1", count, vectorization_mode="vector_entry_point")


def cart_pole(demo: Demo) -> None:
    steps = demo.pick(8000, 30000)
    scores: list[np.ndarray] = []
    before = balance(Agents())[0].mean(1)
    agents = deep_q_learning(demo, steps, scores)
    after = balance(agents)[0].mean(1)
    demo.metric("CartPole, steps before training, median of 5 agents", float(np.median(before)))
    for k, value in enumerate(np.sort(after)):
        demo.metric(f"CartPole, mean steps of agent {k + 1} in order", value)
    demo.metric("CartPole, steps after training, median of 5 agents", float(np.median(after)), at_least=475)

    figure = demo.figure(
        "cart_pole",
        f"Left: how long the pole stands while {AGENTS} agents learn, mean of the last episodes of each. Right: what "
        "the best agent holds its states to be worth, in eight episodes in which it acts at random from step 50 on "
        "(dotted), until the pole falls (dot).",
        (9.6, 3.4),
    )
    left, right = figure.subplots(1, 2)
    for curve, colour in zip(np.array(scores).T, COLOURS, strict=False):
        left.plot(ENVIRONMENTS * EVERY * np.arange(1, len(curve) + 1), curve, color=colour, linewidth=1)
    left.set(xlabel="steps of each agent", ylabel="steps that the pole stands", ylim=(0, 520))
    lengths, values = balance(agents, 8, blind_after=50)
    best = int(after.argmax())
    for k in range(8):
        curve = values[: int(lengths[best, k]), best, k]
        right.plot(curve, color=BLUE, linewidth=0.9)
        right.plot(len(curve) - 1, curve[-1], "o", color=RED, markersize=4)
    right.axvline(50, color=GREY, linestyle=":")
    right.set(xlabel="step", ylabel="value of the state", xlim=(0, 50 + 2.2 * (lengths[best].max() - 50)))


def deep_q_learning(demo: Demo, steps: int, scores: list[np.ndarray], discount: float = 0.99) -> Agents:
    """Every agent as it was when it stood best in a few episodes that it did not learn from."""
    agents, frozen, best = Agents(), Agents(), Agents()
    record = np.zeros(AGENTS)
    random = np.random.default_rng(demo.seed)
    count = AGENTS * ENVIRONMENTS
    world, replay = poles(count), Replay(10_000)
    state, _ = world.reset(seed=demo.seed)
    over, length, last = np.zeros(count, bool), np.zeros(count), np.zeros(count)
    done = 0

    def act() -> None:
        nonlocal state, over, length
        explore = max(0.05, 1 - 4 * done / steps)
        with lc.no_grad():
            choice = agents(lc.from_numpy(state.reshape(AGENTS, ENVIRONMENTS, 4))).argmax(-1).numpy().ravel()
        action = np.where(random.random(count) < explore, random.integers(0, 2, count), choice)
        after, reward, ended, cut, _ = world.step(action)
        valid = ~over  # the step behind an end only starts anew
        replay.add(state, action, reward, after, ended, valid)
        length = np.where(valid, length + 1, 0)
        over = ended | cut
        last[over] = length[over]
        state = after

    def loss() -> Tensor:
        nonlocal done
        if done % FREEZE == 0:
            frozen.load_state_dict(agents.state_dict())
        if done > steps / 2 and done % EXAMINE == 0:
            keep_better(best, agents, record)
        for _ in range(20 if done == 0 else 1):
            act()
        done += 1
        if done % EVERY == 0:
            scores.append(last.reshape(AGENTS, ENVIRONMENTS).mean(1))
        before, action, reward, after, ended, valid = replay.draw(random)
        with lc.no_grad():
            choice = agents(after).argmax(-1, keepdim=True)
            future = frozen(after).gather(-1, choice).squeeze(-1)
            target = (1 - discount) * reward + discount * lc.where(ended, 0.0, future)  # so true values are below 1
        value = agents(before).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return ((value - target).square() * valid.float()).sum() / BATCH

    fit(demo, agents, loss, steps, 1e-3, "balancing")
    keep_better(best, agents, record)
    return best


def keep_better(best: Agents, agents: Agents, record: np.ndarray) -> None:
    """Copy the agents that stand longer than those in `best` did."""
    standing = balance(agents, 10, seed=2)[0].mean(1)
    better = np.flatnonzero(standing >= record)
    record[better] = standing[better]
    with lc.no_grad():
        for kept, parameter in zip(best.parameters(), agents.parameters(), strict=True):
            kept[lc.from_numpy(better)] = parameter[lc.from_numpy(better)]


def balance(agents: Agents, episodes: int = 20, blind_after: int = 500, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Steps of every agent's episodes [AGENTS, episodes] and what it held the states to be worth.

    It does what it holds to be best, or anything at all after `blind_after` steps.
    """
    world, random = poles(AGENTS * episodes), np.random.default_rng(0)
    state, _ = world.reset(seed=seed)
    standing = np.ones(AGENTS * episodes, bool)
    length = np.zeros(AGENTS * episodes)
    values = []
    for step in range(500):
        with lc.no_grad():
            worth, action = agents(lc.from_numpy(state.reshape(AGENTS, episodes, 4))).max(-1)
        values.append(worth.numpy())
        blind = random.integers(0, 2, AGENTS * episodes)
        state, _, ended, cut, _ = world.step(blind if step >= blind_after else action.numpy().ravel())
        length += standing
        standing &= ~(ended | cut)
        if not standing.any():
            break
    return length.reshape(AGENTS, episodes), np.array(values)
