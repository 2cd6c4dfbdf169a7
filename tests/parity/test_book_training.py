"""What the book's programs reach in training beside PyTorch, from the same weights and batches."""

import sys
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import data
from littlecore.models import gpt
from littlecore.nn import functional as F

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))
import twins  # noqa: E402

TF = torch.nn.functional


def test_a_gpt_reads_shakespeare_as_well_as_pytorchs():
    """Loss on unseen text after the same batches from the same weights, by the schedule of the program."""
    text = data.shakespeare()
    tokenizer = data.CharTokenizer.of(text)
    tokens = tokenizer.encode(text)
    train, unseen = np.split(tokens, [len(tokens) * 9 // 10])
    context, steps, symbols = 64, 100, tokenizer.vocab_size
    torch.manual_seed(0)
    state = {k: v.numpy().copy() for k, v in twins.GPT(symbols, context, 2, 4, 64).state_dict().items()}
    reached = []
    for lib, functional in ((lc, F), (torch, TF)):
        model = gpt(vocab_size=symbols, block_size=context, n_layer=2, n_head=4, n_embd=64, dropout=0.0)
        model = model if lib is lc else twins.GPT(symbols, context, 2, 4, 64)
        model.load_state_dict({k: v if lib is lc else torch.from_numpy(v.copy()) for k, v in state.items()})
        optimizer, draw = lib.optim.Adam(model.parameters(), lr=4e-3), np.random.default_rng(0)
        schedule = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

        def loss(part, starts, lib=lib, functional=functional, model=model):
            rows = lib.from_numpy(part[starts[:, None] + np.arange(context + 1)])
            return functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

        for _ in range(steps):
            optimizer.zero_grad()
            loss(train, draw.integers(0, len(train) - context, 32)).backward()
            optimizer.step()
            schedule.step()
        with lib.no_grad():
            reached.append(loss(unseen, np.arange(300) * context).item())
    print(f"GPT on Shakespeare, {steps} steps, nats a character: ours {reached[0]:.4f}, PyTorch {reached[1]:.4f}")
    assert reached[0] <= 1.005 * reached[1] < 3.1
