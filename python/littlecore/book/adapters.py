"""Adapters: a few weights that turn a trained model to another task (section 8.3).

What a network has to change for a new task is small beside what it knows. LoRA (Hu et al., LoRA: Low-Rank Adaptation of
Large Language Models, ICLR 2022) leaves every weight W as it is and learns a product of two narrow matrices beside it,
x (W + B A)^T. B starts as zeros, so at first nothing changes; in the end W + B A is one matrix again, and the model as
fast as before. Since no gradient and no optimizer state is kept for W, it may as well be stored in 4 bits (Dettmers et
al., QLoRA: Efficient Finetuning of Quantized LLMs, NeurIPS 2023).

A perceptron that reads digits has to read them turned by a quarter, which it cannot without learning.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn, optim

from .demo import BLUE, GREEN, GREY, RED, Demo
from .training_protocols import epoch, evaluated, flat

Digits = tuple[Tensor, Tensor]
WIDTH, RANK, TRIALS = 512, 8, 3


def run(demo: Demo) -> None:
    (x, y), (test_x, test_y) = (flat(part) for part in data.digits(8))
    base = network()
    learn(demo, base, (x, y), 1e-3, "reading digits")
    before = evaluated(base, test_x, test_y)[1]
    train, test = (turned(x), y), (turned(test_x), test_y)
    demo.metric("base, digits as they are", before, at_least=0.95)
    nothing_at_first(demo, base, test_x)
    sizes(demo, base, train)
    compare(demo, base, train, test)


def network() -> nn.Sequential:
    """[N, 1, 8, 8] -> [N, 10]"""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH),
        nn.ReLU(), nn.Linear(WIDTH, 10),
    )  # fmt: skip


def turned(x: Tensor) -> Tensor:
    """A quarter to the right."""
    return x.transpose(2, 3).flip(3)


def copy(base: nn.Module) -> nn.Sequential:
    model = network()
    model.load_state_dict(base.state_dict())
    return model


def trainable(model: nn.Module) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def learn(demo: Demo, model: nn.Module, train: Digits, rate: float, text: str) -> list[float]:
    """The mean loss of every epoch."""
    optimizer = optim.Adam(trainable(model), lr=rate)
    epochs = demo.pick(15, 60)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    losses = []
    for _ in demo.progress(range(epochs), text):
        losses.append(epoch(model, optimizer, *train))
        schedule.step()
    return losses


def nothing_at_first(demo: Demo, base: nn.Module, x: Tensor) -> None:
    """Zeros in B add nothing, and what is added later goes into W."""
    with lc.no_grad():
        expected = base(x)
        model = nn.add_lora(copy(base), RANK)
        demo.metric("logits changed by a new adapter", (model(x) != expected).sum().item(), at_most=0)
        for module in model.modules():
            if isinstance(module, nn.LoRALinear):
                nn.init.normal_(module.lora_B, std=0.02)
        apart = model(x)
        merged = nn.merge_lora(model)(x)
    demo.metric("largest change of a logit by a random adapter", (apart - expected).abs().max().item(), at_least=0.1)
    away = (merged - apart).abs().max().item() / apart.abs().max().item()
    demo.metric("merged and unmerged, distance / largest logit", away, at_most=1e-6)


def sizes(demo: Demo, base: nn.Module, train: Digits) -> None:
    """What has to be learned and kept, by count."""

    def held(model: nn.Module) -> int:
        """Bytes of the optimizer's state after a step."""
        optimizer = optim.Adam(trainable(model))
        epoch(model, optimizer, train[0][:50], train[1][:50])
        return sum(t.nbytes for state in optimizer.state.values() for name, t in state.items() if name != "step")

    def frozen(model: nn.Module) -> int:
        """Bytes of the weights that are not learned."""
        every = [*model.buffers(), *(p for p in model.parameters() if not p.requires_grad)]
        return sum(t.nbytes for t in every)

    full, lora, qlora = copy(base), nn.add_lora(copy(base), RANK), nn.add_lora(copy(base), RANK, bits=4)
    learned, every = (sum(p.numel() for p in trainable(model)) for model in (lora, full))
    demo.metric(f"learned weights, rank {RANK}, % of the model's", 100 * learned / every, at_most=5)
    demo.metric("bytes of optimizer state, all weights", held(full))
    demo.metric("bytes of optimizer state, adapters", held(lora))
    demo.metric("bytes of optimizer state, adapters / all", held(lora) / held(full), at_most=0.05)
    demo.metric("bytes of frozen weights, float32", frozen(lora))
    demo.metric("bytes of frozen weights, 4 bits", frozen(qlora))
    demo.metric("bytes of frozen weights, 4 bits / float32", frozen(qlora) / frozen(lora), at_most=0.17)


def compare(demo: Demo, base: nn.Module, train: Digits, test: Digits) -> None:
    accuracy: dict[str, list[float]] = {"all weights": [], "LoRA": [], "QLoRA, 4 bits": []}
    curves: dict[str, list[float]] = {}
    for trial in range(TRIALS):
        for name, reached in accuracy.items():
            model: nn.Module = copy(base)
            if name != "all weights":
                model = nn.add_lora(model, RANK, bits=4 if name.startswith("Q") else None)
            curves[name] = learn(demo, model, train, 1e-3 if name == "all weights" else 3e-3, f"{name}, {trial + 1}")
            reached.append(evaluated(model, *test)[1])
    alone = evaluated(base, *test)[1]
    full, lora, qlora = (float(np.mean(reached)) for reached in accuracy.values())
    demo.metric("base, turned digits", alone, at_most=0.4)
    demo.metric(f"all weights learned, turned digits, mean of {TRIALS}", full, at_least=0.95)
    demo.metric(f"LoRA of rank {RANK}, turned digits, mean of {TRIALS}", lora)
    demo.metric("LoRA's gain / that of learning all weights", (lora - alone) / (full - alone), at_least=0.95)
    demo.metric("points lost by QLoRA against LoRA", 100 * (lora - qlora), at_most=1)

    ranks = (1, 2, 4, RANK, 16)
    by_rank = []
    for rank in ranks:
        if rank == RANK:
            by_rank.append(lora)
            continue
        model = nn.add_lora(copy(base), rank)
        learn(demo, model, train, 3e-3, f"rank {rank}")
        by_rank.append(evaluated(model, *test)[1])
    demo.metric("points by which rank 1 is worse than rank 16", 100 * (by_rank[-1] - by_rank[0]), at_least=1)

    figure = demo.figure(
        "adapters",
        "Left: loss while learning to read turned digits. Right: accuracy on turned test digits against the rank of "
        "the adapters, beside the base alone and all weights learned.",
        (9.6, 3.6),
    )
    left, right = figure.subplots(1, 2)
    for (name, curve), colour in zip(curves.items(), (GREY, BLUE, RED), strict=True):
        left.semilogy(range(1, len(curve) + 1), curve, color=colour, label=name)
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    left.legend()
    right.semilogx(ranks, [100 * a for a in by_rank], "o-", color=BLUE, label="LoRA")
    right.axhline(100 * full, color=GREEN, linestyle="--", label="all weights")
    right.axhline(100 * alone, color=GREY, linestyle="--", label="base")
    right.set_xticks(ranks, [str(rank) for rank in ranks])
    right.set(xlabel="rank", ylabel="test accuracy (%)", ylim=(0, 100))
    right.legend(loc="center right")
