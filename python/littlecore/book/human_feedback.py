"""Human feedback: from a model of texts to one that does what is asked (section 7.1).

A model that has read much is fine-tuned on demonstrations, prompts with good responses. What people cannot write down
they can still judge: of two responses they say which is better, a reward model learns to tell (Bradley and Terry,
1952), and reinforcement learning raises the reward, held back by a penalty on the Kullback-Leibler divergence from the
model it started as (Ouyang et al., Training Language Models to Follow Instructions with Human Feedback, NeurIPS 2022),
here by proximal policy optimization (Schulman et al., Proximal Policy Optimization Algorithms, 2017). The same optimum
has a closed form, by which the policy can be trained on the judgements directly (Rafailov et al., Direct Preference
Optimization, NeurIPS 2023).

The language has eight letters and a Markov chain for a grammar. A prompt asks for a letter; the "people" like a
response for every time that it has the letter, and err at times.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, models, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo
from .fit import fit

LETTERS, ASK, LENGTH = 8, 8, 8  # a prompt is ASK and a letter, a response LENGTH letters
BATCH = 64
GRAMMAR = np.random.default_rng(0).dirichlet(np.full(LETTERS, 0.5), LETTERS)  # of the next letter, given the last


def run(demo: Demo) -> None:
    model = models.gpt(vocab_size=LETTERS + 1, block_size=LENGTH + 2, n_layer=2, n_head=2, n_embd=48, dropout=0.0)
    random = np.random.default_rng(demo.seed)
    read(demo, model, random)
    imitate(demo, model, random)
    better, worse = judged_pairs(model, demo.pick(4000, 20000), random)
    reward = learn_rewards(demo, model, better, worse)
    by_ppo = optimize_policy(demo, model, reward)
    by_dpo = optimize_directly(demo, model, better, worse)
    draw(demo, by_ppo, by_dpo)


# ---- the language ----------------------------------------------------------------------------------------------------


def sentences(first: np.ndarray, length: int, random: np.random.Generator, insert: float = 0.0) -> np.ndarray:
    """Letters behind `first` by the grammar, now and then `first` itself instead.    [N] -> [N, length]"""
    columns = [first]
    for _ in range(length):
        u = random.random((len(first), 1))
        drawn = (GRAMMAR[columns[-1]].cumsum(1) < u).sum(1).clip(max=LETTERS - 1)
        columns.append(np.where(random.random(len(first)) < insert, first, drawn))
    return np.stack(columns[1:], 1)


def prompts(letters: np.ndarray) -> Tensor:
    """[N] -> [N, 2]"""
    return lc.from_numpy(np.stack([np.full(len(letters), ASK), letters], 1))


def liked(tokens: Tensor) -> np.ndarray:
    """How often the response has the letter.    [N, 2 + LENGTH] -> [N]"""
    rows = tokens.numpy()
    return (rows[:, 2:] == rows[:, 1:2]).sum(1)


def log_likelihood(model: nn.Module, tokens: Tensor) -> Tensor:
    """Of every letter of the response.    [N, 2 + LENGTH] -> [N, LENGTH]"""
    logs = model(tokens[:, :-1])[:, 1:].log_softmax(-1)
    return logs.gather(2, tokens[:, 2:].unsqueeze(2)).squeeze(2)


# ---- reading and imitating -------------------------------------------------------------------------------------------


def read(demo: Demo, model: models.GPT, random: np.random.Generator) -> None:
    def loss() -> Tensor:
        x = lc.from_numpy(sentences(random.integers(0, LETTERS, BATCH), LENGTH + 3, random))
        return F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())

    losses = fit(demo, model, loss, demo.pick(250, 3000), 3e-3, "reading")
    often = np.linalg.matrix_power(GRAMMAR, 1000)[0]
    entropy = -(often[:, None] * GRAMMAR * np.log(GRAMMAR.clip(1e-300))).sum()
    demo.metric("nats a letter, the grammar's entropy", entropy)
    demo.metric("nats a letter, model - entropy", np.mean(losses[-50:]) - entropy, at_most=0.1)


def imitate(demo: Demo, model: models.GPT, random: np.random.Generator) -> None:
    """Supervised fine-tuning; only the response counts."""

    def demonstrations(count: int) -> Tensor:
        letters = random.integers(0, LETTERS, count)
        return lc.cat([prompts(letters), lc.from_numpy(sentences(letters, LENGTH, random, insert=0.25))], 1)

    unseen = demonstrations(2000)
    with lc.no_grad():
        before = -log_likelihood(model, unseen).mean().item()
    fit(demo, model, lambda: -log_likelihood(model, demonstrations(BATCH)).mean(), demo.pick(300, 1500), 2e-3, "SFT")
    with lc.no_grad():
        after = -log_likelihood(model, unseen).mean().item()
    demo.metric("demonstrations, nats a letter before fine-tuning", before)
    demo.metric("demonstrations, nats a letter after fine-tuning", after, at_most=before - 0.1)


# ---- a model of what people like -------------------------------------------------------------------------------------


def judged_pairs(model: models.GPT, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two responses to each prompt, the one that was liked better first.    2 x [count, 2 + LENGTH]"""
    asked = prompts(random.integers(0, LETTERS, count))
    a, b = model.generate(asked, LENGTH), model.generate(asked, LENGTH)
    difference = (liked(a) - liked(b)).astype(np.float64)
    first = lc.from_numpy(random.random(count) < 1 / (1 + np.exp(-difference))).unsqueeze(1)
    return lc.where(first, a, b), lc.where(first, b, a)


class Scorer(nn.Module):
    """A language model that ends in one number a token.    [N, T] -> [N, T]"""

    def __init__(self, model: models.GPT) -> None:
        super().__init__()
        self.body, self.readout = copy.deepcopy(model), nn.Linear(model.n_embd, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.readout(self.body.features(tokens)).squeeze(2)

    def whole(self, tokens: Tensor) -> Tensor:
        """The sum over the response.    [N, 2 + LENGTH] -> [N]"""
        return self(tokens)[:, 2:].sum(1)


def ranking_loss(reward: Scorer, better: Tensor, worse: Tensor) -> Tensor:
    """The better response gets the higher score: -log of the probability that Bradley and Terry give to it."""
    return F.softplus(reward.whole(worse) - reward.whole(better)).mean()


def learn_rewards(demo: Demo, model: models.GPT, better: Tensor, worse: Tensor) -> Scorer:
    reward, kept = Scorer(model), len(better) // 10

    def loss() -> Tensor:
        rows = lc.randint(kept, len(better), (BATCH,))
        return ranking_loss(reward, better[rows], worse[rows])

    fit(demo, reward, loss, demo.pick(300, 3000), 1e-3, "reward model")
    with lc.no_grad():
        agrees = (reward.whole(better[:kept]) > reward.whole(worse[:kept])).numpy()
    clear = liked(better[:kept]) != liked(worse[:kept])
    demo.metric("reward model, unseen judgements foretold", agrees[clear].mean(), at_least=0.75)
    demo.metric("judgements that follow the liking", (liked(better[:kept]) > liked(worse[:kept]))[clear].mean())
    return reward


# ---- raising the reward ----------------------------------------------------------------------------------------------


def examined(policy: models.GPT, start: models.GPT, count: int = 600) -> tuple[float, float]:
    """How much its responses are liked, and KL(policy | start), in nats a response."""
    tokens = policy.generate(prompts(np.arange(count) % LETTERS), LENGTH)
    with lc.no_grad():
        divergence = (log_likelihood(policy, tokens) - log_likelihood(start, tokens)).sum(1).mean().item()
    return float(liked(tokens).mean()), divergence


def advantages(rewards: Tensor, values: Tensor, decay: float = 0.95) -> Tensor:
    """How much better things went than expected (Schulman et al., Generalized Advantage Estimation, ICLR 2016).

    2 x [N, LENGTH] -> [N, LENGTH]
    """
    after = lc.cat([values[:, 1:], lc.zeros(len(values), 1)], 1)
    surprise = rewards + after - values
    columns, total = [], lc.zeros(len(values))
    for t in reversed(range(LENGTH)):
        total = surprise[:, t] + decay * total
        columns.append(total)
    return lc.stack(columns[::-1], 1)


def clipped_loss(policy: models.GPT, tokens: Tensor, before: Tensor, gain: Tensor, clip: float = 0.2) -> Tensor:
    """PPO's: what went well becomes likelier, but by no more than `clip` at a time.    before, gain [N, LENGTH]"""
    ratio = (log_likelihood(policy, tokens) - before).exp()
    return -lc.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain).mean()


def optimize_policy(demo: Demo, start: models.GPT, reward: Scorer) -> list[tuple[float, float]]:
    """PPO; what `examined` says from time to time."""
    policy, critic, penalty = copy.deepcopy(start), Scorer(start), 0.2
    optimizer = optim.Adam([*policy.parameters(), *critic.parameters()], lr=1e-3)
    path = [examined(policy, start)]
    rounds = demo.pick(30, 200)
    for k in demo.progress(range(1, rounds + 1), "PPO"):
        tokens = policy.generate(prompts(np.arange(2 * BATCH) % LETTERS), LENGTH)
        with lc.no_grad():
            before = log_likelihood(policy, tokens)
            rewards = -penalty * (before - log_likelihood(start, tokens))
            rewards[:, -1] = rewards[:, -1] + reward.whole(tokens)
            values = critic(tokens[:, :-1])[:, 1:]
            gain = advantages(rewards, values)
            goal = gain + values
            gain = (gain - gain.mean()) / (gain.std() + 1e-6)
        for _ in range(4):
            value_loss = F.mse_loss(critic(tokens[:, :-1])[:, 1:], goal)
            optimizer.zero_grad()
            (clipped_loss(policy, tokens, before, gain) + 0.5 * value_loss).backward()
            optimizer.step()
        if k % (rounds // 10) == 0:
            path.append(examined(policy, start))
    report(demo, "PPO", path)
    return path


def preference(model: models.GPT, better: Tensor, worse: Tensor) -> Tensor:
    """By how many nats the better response is likelier.    2 x [N, 2 + LENGTH] -> [N]"""
    return (log_likelihood(model, better) - log_likelihood(model, worse)).sum(1)


def direct_loss(policy: models.GPT, better: Tensor, worse: Tensor, before: Tensor, strength: float = 0.15) -> Tensor:
    """DPO's: `preference` shall rise above what it was before.    before [N]"""
    return F.softplus(-strength * (preference(policy, better, worse) - before)).mean()


def optimize_directly(demo: Demo, start: models.GPT, better: Tensor, worse: Tensor) -> list[tuple[float, float]]:
    """DPO; what `examined` says from time to time."""
    policy, path = copy.deepcopy(start), [examined(start, start)]
    with lc.no_grad():
        before = preference(start, better, worse)
    steps, done = demo.pick(250, 4000), 0

    def loss() -> Tensor:
        nonlocal done
        done += 1
        if done % (steps // 10) == 0:
            path.append(examined(policy, start))
        rows = lc.randint(0, len(better), (BATCH,))
        return direct_loss(policy, better[rows], worse[rows], before[rows])

    fit(demo, policy, loss, steps, 5e-4, "DPO")
    path[-1] = examined(policy, start)
    report(demo, "DPO", path)
    return path


def report(demo: Demo, name: str, path: list[tuple[float, float]]) -> None:
    demo.metric(f"{name}, liking before", path[0][0])
    demo.metric(f"{name}, liking after", path[-1][0], at_least=path[0][0] + 2)
    demo.metric(f"{name}, KL divergence from the start, nats", path[-1][1], within=(0, 10))


def draw(demo: Demo, by_ppo: list[tuple[float, float]], by_dpo: list[tuple[float, float]]) -> None:
    figure = demo.figure(
        "feedback",
        f"Left: how much responses are liked ({LENGTH} is the most possible) while learning. Right: the same "
        "against how far the model has moved from where it started.",
        (9.6, 3.6),
    )
    left, right = figure.subplots(1, 2, sharey=True)
    for name, path, colour in (("PPO", by_ppo, BLUE), ("DPO", by_dpo, RED)):
        score, divergence = np.array(path).T
        curve: Any = np.linspace(0, 100, len(path))
        left.plot(curve, score, "o-", color=colour, label=name)
        right.plot(divergence, score, "o-", color=colour, label=name)
    for axes in (left, right):
        axes.axhline(LENGTH, color=GREY, linestyle=":")
    left.set(xlabel="% of training", ylabel="liking", ylim=(0, LENGTH + 0.3))
    right.set(xlabel="KL divergence from the start (nats a response)")
    left.legend()
