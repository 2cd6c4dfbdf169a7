"""A training step of the programs of chapters 7 and 8 beside PyTorch: the loss, every gradient, the loss after it."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn
from littlecore.book import adapters, human_feedback, image_generation, model_merging, quantization, retrieval
from littlecore.models import denoising_unet, gpt
from littlecore.nn import functional as F

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))
import twins  # noqa: E402

TF = torch.nn.functional


def both(array):
    return lc.from_numpy(array), torch.from_numpy(array)


def random(seed=1):
    return np.random.default_rng(seed)


def agree(ours, theirs, our_loss, their_loss, rate=0.05):
    """From PyTorch's weights: the same loss, the same gradients, and after a step of them the same lower loss."""
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
    losses = []
    for lib, model, loss in ((lc, ours, our_loss), (torch, theirs, their_loss)):
        optimizer = lib.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
        first = loss()
        first.backward()
        optimizer.step()
        losses.append((first.item(), loss().item()))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][1] < losses[0][0]
    wanted = {k: p.grad for k, p in theirs.named_parameters()}
    found = {k: p.grad for k, p in ours.named_parameters()}
    assert wanted.keys() == found.keys()
    largest = max(g.abs().max().item() for g in wanted.values() if g is not None)
    for key, gradient in wanted.items():
        assert (gradient is None) == (found[key] is None), key
        if gradient is not None:
            np.testing.assert_allclose(found[key].numpy(), gradient.numpy(), 1e-4, 1e-5 * largest, err_msg=key)


# ---- 7.1: text, and what people like ---------------------------------------------------------------------------------


@pytest.fixture
def languages():
    """Ours, PyTorch's, and two batches of texts."""
    torch.manual_seed(0)
    length = human_feedback.LENGTH + 2
    ours = gpt(vocab_size=human_feedback.LETTERS + 1, block_size=length, n_layer=2, n_head=2, n_embd=32)
    theirs = twins.GPT(human_feedback.LETTERS + 1, length, 2, 2, 32)
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(5)  # away from the start, where every token is equally likely
    texts = random().integers(0, human_feedback.LETTERS, (2, 16, length))
    return ours, theirs, texts


def likelihood(model, tokens):
    logs = model(tokens[:, :-1])[:, 1:].log_softmax(-1)
    return logs.gather(2, tokens[:, 2:, None])[..., 0]


def test_imitation(languages):
    ours, theirs, (texts, _) = languages
    a, b = both(texts)
    agree(
        ours, theirs, lambda: -human_feedback.log_likelihood(ours, a).mean(), lambda: -likelihood(theirs, b).mean(),
        rate=1e-3,
    )  # fmt: skip


class Scorer(torch.nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.readout = body, torch.nn.Linear(32, 1)

    def whole(self, tokens):
        """The model's features are what its readout is given."""
        seen = []
        handle = self.body.lm_head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        self.body(tokens)
        handle.remove()
        return self.readout(seen[0]).squeeze(2)[:, 2:].sum(1)


def test_a_model_of_rewards(languages):
    ours, theirs, texts = languages
    (better, b), (worse, w) = map(both, texts)
    scorer, twin = human_feedback.Scorer(ours), Scorer(theirs)
    agree(
        scorer, twin, lambda: human_feedback.ranking_loss(scorer, better, worse),
        lambda: -torch.sigmoid(twin.whole(b) - twin.whole(w)).log().mean(), rate=1e-3,
    )  # fmt: skip


def test_proximal_policy_optimization(languages):
    ours, theirs, (texts, _) = languages
    (tokens, t), r = both(texts), random(2)
    with torch.no_grad():
        now = likelihood(theirs, t).numpy()
    before, old = both((now + r.normal(0, 0.3, now.shape)).astype(np.float32))  # some ratios are clipped
    gain, advantage = both(r.standard_normal(now.shape).astype(np.float32))

    def theirs_loss():
        ratio = (likelihood(theirs, t) - old).exp()
        return -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()

    agree(ours, theirs, lambda: human_feedback.clipped_loss(ours, tokens, before, gain), theirs_loss, rate=1e-3)


def test_direct_preference_optimization(languages):
    ours, theirs, texts = languages
    (better, b), (worse, w) = map(both, texts)
    before, old = both(random(2).normal(0, 3, len(b)).astype(np.float32))

    def theirs_loss():
        preferred = (likelihood(theirs, b) - likelihood(theirs, w)).sum(1) - old
        return -TF.logsigmoid(0.15 * preferred).mean()

    agree(ours, theirs, lambda: human_feedback.direct_loss(ours, better, worse, before), theirs_loss)


# ---- 7.2: from noise to an image -------------------------------------------------------------------------------------


class Residual(torch.nn.Module):
    def __init__(self, a, b, context, groups):
        super().__init__()
        t = torch.nn
        self.norm1, self.conv1 = t.GroupNorm(groups, a), t.Conv2d(a, b, 3, padding=1)
        self.context = t.Linear(context, b)
        self.norm2, self.conv2 = t.GroupNorm(groups, b), t.Conv2d(b, b, 3, padding=1)
        self.skip = t.Identity() if a == b else t.Conv2d(a, b, 1)

    def forward(self, x, context):
        y = self.conv1(TF.silu(self.norm1(x))) + self.context(context)[:, :, None, None]
        return self.skip(x) + self.conv2(TF.silu(self.norm2(y)))


class Attention(torch.nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.norm = torch.nn.GroupNorm(groups, channels)
        self.qkv, self.out = torch.nn.Linear(channels, 3 * channels), torch.nn.Linear(channels, channels)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x).flatten(2).mT).chunk(3, -1)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return x + self.out(weights @ v).mT.reshape(x.shape)


class Denoiser(torch.nn.Module):
    def __init__(self, widths, steps, classes, groups):
        super().__init__()
        t, context = torch.nn, 4 * widths[0]
        frequency = 1e4 ** (-np.arange(0, widths[0], 2) / widths[0])
        angle = np.arange(steps)[:, None] * frequency
        self.times = torch.from_numpy(np.stack([np.sin(angle), np.cos(angle)], -1).reshape(steps, -1)).float()
        self.embed_time = t.Sequential(t.Linear(widths[0], context), t.SiLU(), t.Linear(context, context))
        self.embed_class = t.Embedding(classes + 1, context)
        self.stem = t.Conv2d(1, widths[0], 3, padding=1)
        levels = list(pairwise((widths[0], *widths)))
        self.down = t.ModuleList(Residual(a, b, context, groups) for a, b in levels)
        self.shrink = t.ModuleList(t.Conv2d(b, b, 3, stride=2, padding=1) for _, b in levels[:-1])
        self.attention = Attention(widths[-1], groups)
        self.middle = Residual(widths[-1], widths[-1], context, groups)
        self.up = t.ModuleList(Residual(2 * b, a, context, groups) for a, b in reversed(levels))
        self.grow = t.ModuleList(t.ConvTranspose2d(a, a, 2, stride=2) for a, _ in reversed(levels[1:]))
        self.norm, self.readout = t.GroupNorm(groups, widths[0]), t.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, x, step, label):
        context = TF.silu(self.embed_time(self.times[step]) + self.embed_class(label))
        x, seen = self.stem(x), []
        for level, block in enumerate(self.down):
            x = block(self.shrink[level - 1](x) if level else x, context)
            seen.append(x)
        x = self.middle(self.attention(x), context)
        for level, block in enumerate(self.up):
            x = block(torch.cat([self.grow[level - 1](x) if level else x, seen.pop()], 1), context)
        return self.readout(TF.silu(self.norm(x)))


def diffused(x, step, noise):
    """By the paper's formula, in float64."""
    beta = np.linspace(1e-4, 0.02, image_generation.STEPS) * (1000 / image_generation.STEPS)
    kept = np.cumprod(1 - beta)[step].reshape(-1, *(1,) * (x.ndim - 1))
    return torch.from_numpy(np.sqrt(kept) * x + np.sqrt(1 - kept) * noise).float()


def test_denoising_of_images():
    torch.manual_seed(0)
    r, widths = random(), (8, 12, 16)
    ours = denoising_unet(widths=widths, steps=image_generation.STEPS, classes=10, groups=4)
    theirs = Denoiser(widths, image_generation.STEPS, 10, 4)
    x, noise = r.standard_normal((2, 8, 1, 16, 16)).astype(np.float32)
    step, label = r.integers(0, image_generation.STEPS, 8), np.where(np.arange(8) < 2, 10, r.integers(0, 10, 8))

    def our_loss():
        found = image_generation.noised(*map(lc.from_numpy, (x, step, noise)))
        return F.mse_loss(ours(found, *map(lc.from_numpy, (step, label))), lc.from_numpy(noise))

    def their_loss():
        found = theirs(diffused(x, step, noise), *map(torch.from_numpy, (step, label)))
        return TF.mse_loss(found, torch.from_numpy(noise))

    agree(ours, theirs, our_loss, their_loss)


def test_denoising_of_densities():
    torch.manual_seed(0)
    r, ours = random(), image_generation.Perceptron(2)
    theirs = twins.Perceptron(torch.from_numpy(ours.times.numpy().copy()), same_layers(ours.layers))
    x, noise = r.standard_normal((2, 64, 2)).astype(np.float32)
    step = r.integers(0, image_generation.STEPS, 64)

    def our_loss():
        a, s, e = map(lc.from_numpy, (x, step, noise))
        return F.mse_loss(ours(image_generation.noised(a, s, e), s), e)

    agree(
        ours, theirs, our_loss,
        lambda: TF.mse_loss(theirs(diffused(x, step, noise), torch.from_numpy(step)), torch.from_numpy(noise)),
    )  # fmt: skip


# ---- 8: less, and for something else ---------------------------------------------------------------------------------


def same_layers(ours):
    """PyTorch's Sequential of the same kinds and sizes."""
    layers = []
    for layer in ours:
        kind = getattr(torch.nn, type(layer).__name__)
        layers.append(kind(layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else kind())
    return torch.nn.Sequential(*layers)


def digits(n=32):
    r = random()
    return r.random((n, 1, 8, 8)).astype(np.float32), r.integers(0, 10, n)


def test_answers_behind_a_question():
    """Chain of thought: only what the model has to write counts."""
    torch.manual_seed(0)
    ours = gpt(vocab_size=13, block_size=24, n_layer=2, n_head=4, n_embd=32)
    theirs = twins.GPT(13, 24, 2, 4, 32)
    tokens, t = both(random().integers(0, 13, (8, 24)))
    agree(
        ours, theirs, lambda: F.cross_entropy(ours(tokens[:, :-1])[:, 8:].flatten(0, 1), tokens[:, 9:].flatten()),
        lambda: TF.cross_entropy(theirs(t[:, :-1])[:, 8:].flatten(0, 1), t[:, 9:].flatten()),
    )  # fmt: skip


def test_words_that_belong_together():
    """Retrieval: some words of a passage find the others."""
    torch.manual_seed(0)
    r = random()
    rarity = r.uniform(1, 5, 40).astype(np.float32)
    ours = retrieval.Encoder(rarity)
    theirs = torch.nn.Module()
    theirs.register_buffer("rarity", torch.from_numpy(rarity.copy()))
    theirs.vectors = torch.nn.Parameter(torch.randn(40, retrieval.WIDTH))
    theirs.scale = torch.nn.Parameter(torch.tensor(2.5))
    (some, a), (others, b) = (both((r.random((16, 40)) < 0.3).astype(np.float32)) for _ in range(2))

    def their_loss():
        left, right = (TF.normalize((bag * theirs.rarity) @ theirs.vectors, dim=-1) for bag in (a, b))
        logits, own = theirs.scale.exp() * left @ right.mT, torch.arange(16)
        return (TF.cross_entropy(logits, own) + TF.cross_entropy(logits.mT, own)) / 2

    agree(ours, theirs, lambda: retrieval.matching_loss(ours, some, others), their_loss, rate=1e-2)


def two_bits(w):
    """The least of every 32 neighbours and three equal steps up to the largest, both numbers kept in float16."""
    x = w.unflatten(-1, (-1, 32))
    least, most = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    step = (most - least) / 3
    return (((x - least) / step).round() * step.half().float() + least.half().float()).flatten(-2)


def test_quantization_aware_training(monkeypatch):
    torch.manual_seed(0)
    ours, theirs = gpt(vocab_size=30, block_size=16, n_layer=2, n_head=4, n_embd=32), twins.GPT(30, 16, 2, 4, 32)
    quantization.round_inside(ours.transformer["h"], quantization.few_bits(2))
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(5)

    def rounded(layer, x):
        w = layer.weight
        return TF.linear(x, w + (two_bits(w) - w).detach() if w.shape[0] != 30 else w, layer.bias)

    tokens, t = both(random().integers(0, 30, (8, 17)))

    def their_loss():
        return TF.cross_entropy(theirs(t[:, :-1]).flatten(0, 1), t[:, 1:].flatten())

    unrounded = their_loss().item()
    monkeypatch.setattr(torch.nn.Linear, "forward", rounded)
    assert abs(their_loss().item() - unrounded) > 1e-3
    agree(
        ours, theirs, lambda: F.cross_entropy(ours(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()), their_loss,
        rate=1e-3,
    )  # fmt: skip


class Adapted(torch.nn.Module):
    def __init__(self, weight, bias, rank):
        super().__init__()
        self.weight, self.bias = (torch.from_numpy(p.numpy().copy()) for p in (weight.detach(), bias.detach()))
        self.lora_A = torch.nn.Parameter(torch.randn(rank, weight.shape[1]) / rank**0.5)
        self.lora_B = torch.nn.Parameter(torch.randn(weight.shape[0], rank) * 0.02)

    def forward(self, x):
        return TF.linear(x, self.weight + self.lora_B @ self.lora_A, self.bias)


@pytest.mark.parametrize("bits", [None, 4])
def test_adapters(bits):
    torch.manual_seed(0)
    ours = nn.add_lora(adapters.network(), adapters.RANK, bits=bits)
    twin = []
    for layer in ours:
        if isinstance(layer, nn.LoRALinear):
            weight = layer.base.weight if bits is None else layer.base.dequantized()
            twin.append(Adapted(weight, layer.base.bias, layer.rank))
        else:
            twin.append(getattr(torch.nn, type(layer).__name__)())
    theirs = torch.nn.Sequential(*twin)
    with lc.no_grad():
        for mine, other in zip(ours, twin, strict=True):
            if isinstance(mine, nn.LoRALinear):
                for part in ("lora_A", "lora_B"):
                    getattr(mine, part).copy_(lc.from_numpy(getattr(other, part).detach().numpy()))
    (x, a), (y, b) = map(both, digits())
    losses = []
    for lib, model, images, labels in ((lc, ours, x, y), (torch, theirs, a, b)):
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer, steps = lib.optim.SGD(learned, lr=0.1), []
        for _ in range(3):
            loss = lib.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.append(loss.item())
        losses.append(steps)
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][2] < losses[0][0]


def test_fine_tuning_of_what_is_merged():
    """The body learns, the readout stays; then two task vectors are added."""
    torch.manual_seed(0)
    model = model_merging.Model()
    readout = model.readouts["turned"].requires_grad_(False)
    ours = nn.Sequential(model.body, readout)
    theirs = torch.nn.Sequential(
        same_layers(model.body), torch.nn.Linear(model_merging.WIDTH, 10).requires_grad_(False)
    )
    (x, a), (y, b) = map(both, digits())
    agree(
        ours, theirs, lambda: F.cross_entropy(ours(model_merging.VIEWS["turned"](x)), y),
        lambda: TF.cross_entropy(theirs(a.rot90(-1, (2, 3))), b),
    )  # fmt: skip
    found, wanted = model.weights().numpy(), torch.nn.utils.parameters_to_vector(theirs[0].parameters()).detach()
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-7)
