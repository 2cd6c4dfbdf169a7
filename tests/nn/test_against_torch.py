"""Every layer beside PyTorch's: the same keys, and in float64 the same outputs and gradients for the same weights."""

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SAME = 1e-7  # float64: the same formula; PyTorch keeps a few constants (the 1/6 of hardsigmoid) in float32


def close(got, want, what):
    got, want = np.asarray(got.detach()), want.detach().numpy()
    assert got.shape == want.shape, f"{what}: shape {got.shape}, PyTorch's {want.shape}"
    size = max(np.abs(want).max(initial=0), 1e-3)
    assert np.abs(got - want).max(initial=0) <= SAME * size, f"{what} differs by {np.abs(got - want).max():.1e}"


def flat(outputs):
    if isinstance(outputs, (tuple, list)):
        return [t for o in outputs for t in flat(o)]
    return [] if outputs is None else [outputs]


def compare(make, *inputs, mode="train", call=lambda m, *x: m(*x)):
    """make(nn) builds the module for either library; inputs are NumPy arrays (float64 ones get gradients)."""
    torch.manual_seed(0)
    theirs = make(torch.nn).double().train(mode == "train")
    ours = make(lc.nn).double().train(mode == "train")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})

    def leaves(lib):
        given = [lib.tensor(x) if lib is torch else lc.from_numpy(x.copy()) for x in inputs]
        return [g.requires_grad_() if x.dtype == np.float64 else g for g, x in zip(given, inputs, strict=True)]

    ours_in, theirs_in = leaves(lc), leaves(torch)
    ours_out, theirs_out = flat(call(ours, *ours_in)), flat(call(theirs, *theirs_in))
    assert len(ours_out) == len(theirs_out)
    random = np.random.default_rng(1)
    total_ours, total_theirs = 0, 0
    for i, (a, b) in enumerate(zip(ours_out, theirs_out, strict=True)):
        close(a, b, f"output {i}")
        dy = random.standard_normal(tuple(b.shape))
        total_ours = total_ours + (a * lc.from_numpy(dy)).sum()
        total_theirs = total_theirs + (b * torch.tensor(dy)).sum()
    total_ours.backward()
    total_theirs.backward()
    for i, (a, b) in enumerate(zip(ours_in, theirs_in, strict=True)):
        if b.requires_grad:
            close(a.grad, b.grad, f"gradient of input {i}")
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if b.grad is not None:
            close(a.grad, b.grad, f"gradient of {name}")
    for (name, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        close(a, b, name)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


ACTIVATIONS = [
    lambda nn: nn.ReLU(), lambda nn: nn.ReLU6(), lambda nn: nn.SiLU(), lambda nn: nn.Mish(),
    lambda nn: nn.Hardsigmoid(), lambda nn: nn.Hardswish(), lambda nn: nn.SELU(), lambda nn: nn.Tanh(),
    lambda nn: nn.Sigmoid(), lambda nn: nn.LogSigmoid(), lambda nn: nn.Softsign(), lambda nn: nn.Tanhshrink(),
    lambda nn: nn.LeakyReLU(0.2), lambda nn: nn.PReLU(), lambda nn: nn.PReLU(6), lambda nn: nn.ELU(0.7),
    lambda nn: nn.GELU(), lambda nn: nn.GELU("tanh"), lambda nn: nn.Softplus(2.0, 5.0),
    lambda nn: nn.Hardtanh(-0.5, 1.5), lambda nn: nn.Threshold(0.1, 20.0), lambda nn: nn.GLU(1),
    lambda nn: nn.Softmax(1), lambda nn: nn.LogSoftmax(-1), lambda nn: nn.Softmin(0), lambda nn: nn.Identity(),
]  # fmt: skip


@pytest.mark.parametrize("make", ACTIVATIONS, ids=lambda m: repr(m(lc.nn)))
def test_activations(make):
    compare(make, 3 * normal(5, 6, 4))


LAYERS = [
    (lambda nn: nn.Linear(7, 5), (2, 3, 7)),
    (lambda nn: nn.Linear(7, 5, bias=False), (7,)),
    (lambda nn: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (2, 4, 17)),
    (lambda nn: nn.Conv1d(4, 6, 4, padding="same"), (2, 4, 17)),
    (lambda nn: nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"), (2, 2, 9)),
    (lambda nn: nn.Conv2d(3, 8, 3, padding=1), (2, 3, 9, 8)),
    (lambda nn: nn.Conv2d(4, 8, (3, 2), stride=(2, 1), padding=(1, 0), groups=4, bias=False), (2, 4, 9, 8)),
    (lambda nn: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (2, 2, 6, 7)),
    (lambda nn: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 2, 6, 7)),
    (lambda nn: nn.ConvTranspose1d(4, 6, 5, stride=3, padding=1, output_padding=2, groups=2), (2, 4, 7)),
    (lambda nn: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1, dilation=2), (2, 4, 5, 6)),
    (lambda nn: nn.MaxPool1d(3, 2, 1), (2, 3, 11)),
    (lambda nn: nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True), (2, 3, 11, 12)),
    (lambda nn: nn.AvgPool1d(3, 2, 1), (2, 3, 11)),
    (lambda nn: nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False), (2, 3, 11, 12)),
    (lambda nn: nn.AdaptiveAvgPool1d(4), (2, 3, 11)),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 11, 5)),
    (lambda nn: nn.LayerNorm((4, 5)), (3, 4, 5)),
    (lambda nn: nn.LayerNorm(5, bias=False), (3, 4, 5)),
    (lambda nn: nn.LayerNorm(5, elementwise_affine=False), (3, 4, 5)),
    (lambda nn: nn.RMSNorm(6), (3, 6)),
    (lambda nn: nn.BatchNorm1d(4), (6, 4)),
    (lambda nn: nn.BatchNorm1d(4, momentum=None), (6, 4, 5)),
    (lambda nn: nn.BatchNorm2d(4, affine=False), (3, 4, 5, 2)),
    (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), (3, 4, 5, 2)),
    (lambda nn: nn.GroupNorm(2, 6), (3, 6, 5)),
    (lambda nn: nn.InstanceNorm1d(4, affine=True), (3, 4, 9)),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (3, 4, 5, 6)),
    (lambda nn: nn.Flatten(), (2, 3, 4)),
    (lambda nn: nn.Unflatten(1, (2, 3)), (4, 6, 2)),
    (lambda nn: nn.Upsample(scale_factor=2), (2, 3, 4, 5)),
    (lambda nn: nn.Upsample(size=(7, 9), mode="bilinear", align_corners=False), (2, 3, 4, 5)),
    (lambda nn: nn.Unfold(3, padding=1, stride=2), (2, 3, 7, 8)),
    (lambda nn: nn.Fold((7, 8), 3, padding=1, stride=2), (2, 27, 16)),
    (lambda nn: nn.Dropout(0.0), (3, 4)),
]


@pytest.mark.parametrize(
    ("make", "shape"), LAYERS, ids=lambda v: repr(v(lc.nn)) if callable(v) else "x".join(map(str, v))
)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_layers(make, shape, mode):
    compare(make, normal(*shape), mode=mode)


@pytest.mark.parametrize(
    ("make", "shape"), LAYERS[:12] + LAYERS[17:28], ids=lambda v: repr(v(lc.nn)) if callable(v) else "-"
)
def test_layers_print_as_pytorch_does(make, shape):
    assert repr(make(lc.nn)).replace(", device=None", "") == repr(make(torch.nn))


def test_embedding():
    indices = np.array([[1, 4, 0], [4, 2, 4]])
    compare(lambda nn: nn.Embedding(5, 3, padding_idx=2), indices)


def recurrent(kind, **options):
    return lambda nn: getattr(nn, kind)(5, 4, **options)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False}, {"num_layers": 3}],
    ids=str,
)
def test_recurrent(kind, options):
    compare(recurrent(kind, **options), normal(6, 3, 5))
    if not options:
        compare(recurrent(kind), normal(6, 5))
        state = (normal(1, 3, 4, seed=2),) * (2 if kind == "LSTM" else 1)
        call = (lambda m, x, h, c: m(x, (h, c))) if kind == "LSTM" else (lambda m, x, h: m(x, h))
        compare(recurrent(kind), normal(6, 3, 5), *state, call=call)
    if kind == "RNN":
        compare(recurrent(kind, nonlinearity="relu", **options), normal(6, 3, 5))
    if kind == "LSTM":
        compare(recurrent(kind, proj_size=2, **options), normal(6, 3, 5))


def test_a_projected_lstm_takes_states_of_two_widths_and_prints_as_pytorchs():
    h, c = normal(2, 3, 2, seed=2), normal(2, 3, 4, seed=3)
    make = recurrent("LSTM", proj_size=2, bidirectional=True)
    compare(make, normal(6, 3, 5), h, c, call=lambda m, x, h, c: m(x, (h, c)))
    assert repr(make(lc.nn)) == repr(make(torch.nn))
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="proj_size"):
            nn.LSTM(5, 4, proj_size=wrong)
    with pytest.raises(ValueError, match=r"state is \(1, 3, 4\), expected \(1, 3, 2\)"):
        nn.LSTM(5, 4, proj_size=2)(lc.zeros(6, 3, 5), (lc.zeros(1, 3, 4), lc.zeros(1, 3, 4)))


CAUSAL = np.triu(np.ones((5, 5), dtype=bool), 1)
PADDING = np.array([[False] * 5, [False, False, False, True, True]])
ATTENTION = {
    "plain": ({}, lambda m, x: m(x, x, x)),
    "no weights": ({}, lambda m, x: m(x, x, x, need_weights=False)),
    "batch first": ({"batch_first": True, "bias": False}, lambda m, x: m(x, x, x, average_attn_weights=False)),
    "extra keys": ({"add_bias_kv": True, "add_zero_attn": True}, lambda m, x: m(x, x, x)),
    "unbatched": ({}, lambda m, x: m(x[0], x[0], x[0])),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name):
    options, call = ATTENTION[name]
    compare(lambda nn: nn.MultiheadAttention(8, 2, **options), normal(5, 2, 8), call=call)


@pytest.mark.parametrize("weights", [True, False])
def test_attention_masks_and_widths(weights):
    def call(m, x, memory, padding, causal):
        return m(x, memory, memory, key_padding_mask=padding, attn_mask=causal, need_weights=weights)

    compare(
        lambda nn: nn.MultiheadAttention(8, 2), normal(5, 2, 8), normal(5, 2, 8, seed=3), PADDING, CAUSAL, call=call
    )
    compare(
        lambda nn: nn.MultiheadAttention(8, 2, kdim=6, vdim=6),
        normal(5, 2, 8),
        normal(5, 2, 6),
        PADDING,
        CAUSAL,
        call=call,
    )


@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 7)], ids=str)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("weights", [True, False])
def test_additive_attention_masks_and_their_gradients(weights, padded, shape):
    """A float mask per sample and head or for all, -inf in places, alone or with a padding mask as additive."""
    mask = normal(*shape, seed=4)
    mask[..., 2, 1] = -np.inf
    padding = np.where(PADDING[:, [0, 0, *range(5)]], -np.inf, 0.0)

    def call(m, x, memory, mask, padding):
        padding = padding.detach() if padded else None
        return m(x, memory, memory, padding, attn_mask=mask, need_weights=weights, average_attn_weights=False)

    def grown(m, x, memory, mask, padding):  # the unused padding mask still needs a gradient to compare
        outputs = call(m, x, memory, mask, padding)
        return (*outputs, padding[0, :1]) if weights else (outputs[0], padding[0, :1])

    compare(lambda nn: nn.MultiheadAttention(8, 2), normal(5, 2, 8), normal(7, 2, 8, seed=3), mask, padding, call=grown)


def test_additive_masks_of_another_precision_are_taken():
    m, x = nn.MultiheadAttention(8, 2).double(), lc.from_numpy(normal(5, 2, 8))
    mask = lc.from_numpy(normal(5, 5))
    for weights in (True, False):
        a, b = (m(x, x, x, attn_mask=t, need_weights=weights)[0] for t in (mask.float(), mask.float().double()))
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_layers(norm_first, activation, batch_first):
    options = {"dim_feedforward": 16, "dropout": 0.0, "norm_first": norm_first, "activation": activation,
               "batch_first": batch_first}  # fmt: skip
    x, memory = (y.swapaxes(0, 1).copy() if batch_first else y for y in (normal(5, 2, 8), normal(4, 2, 8)))
    compare(lambda nn: nn.TransformerEncoderLayer(8, 2, **options), x, CAUSAL, PADDING,
            call=lambda m, x, mask, padding: m(x, src_mask=mask, src_key_padding_mask=padding))  # fmt: skip
    compare(lambda nn: nn.TransformerDecoderLayer(8, 2, **options), x, memory, CAUSAL,
            call=lambda m, x, memory, mask: m(x, memory, tgt_mask=mask))  # fmt: skip


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(5, 8), (5, 2, 8)], ids=str)
def test_attention_adds_a_residual(shape, batch_first):
    m = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    x, residual = (lc.from_numpy(normal(*shape, seed=s)).float() for s in (0, 1))
    assert lc.equal(m(x, x, x, residual=residual)[0], residual + m(x, x, x)[0])


NESTED = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")


@NESTED
def test_transformer():
    compare(lambda nn: nn.Transformer(8, 2, 2, 2, 16, 0.0), normal(5, 2, 8), normal(4, 2, 8))
    compare(
        lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8)), normal(5, 2, 8)
    )


CLASSES = np.array([1, 0, 3, 2, 1])
POSITIVE = np.abs(normal(5, 4, seed=7)) + 0.1
PROBABILITY = POSITIVE / POSITIVE.sum(1, keepdims=True)
LOSSES = [
    (lambda nn: nn.L1Loss(), normal(5, 4, seed=2)),
    (lambda nn: nn.MSELoss(reduction="none"), normal(5, 4, seed=2)),
    (lambda nn: nn.HuberLoss(delta=0.7), normal(5, 4, seed=2)),
    (lambda nn: nn.SmoothL1Loss(beta=0.7, reduction="sum"), normal(5, 4, seed=2)),
    (lambda nn: nn.CrossEntropyLoss(), CLASSES),
    (lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=3), CLASSES),
    (lambda nn: nn.CrossEntropyLoss(reduction="sum"), PROBABILITY),
    (lambda nn: nn.NLLLoss(), CLASSES),
    (lambda nn: nn.BCEWithLogitsLoss(), PROBABILITY),
    (lambda nn: nn.KLDivLoss(reduction="batchmean"), PROBABILITY),
]


@pytest.mark.parametrize(("make", "target"), LOSSES, ids=lambda v: repr(v(lc.nn)) if callable(v) else "")
def test_losses(make, target):
    compare(make, normal(5, 4), target)


def test_losses_of_more_arguments():
    compare(lambda nn: nn.BCELoss(), PROBABILITY, 1 - PROBABILITY)
    compare(lambda nn: nn.TripletMarginLoss(0.5), normal(5, 4), normal(5, 4, seed=2), normal(5, 4, seed=3))
    sign = np.array([1, -1, 1, -1, -1])
    compare(lambda nn: nn.CosineEmbeddingLoss(0.1), normal(5, 4), normal(5, 4, seed=2), sign)
    compare(lambda nn: nn.CosineSimilarity(), normal(5, 4), normal(5, 4, seed=2))
    weight = np.array([1.0, 2.0, 0.5, 3.0])
    for name in ("CrossEntropyLoss", "NLLLoss"):

        def make(nn, name=name):
            return getattr(nn, name)(weight=lc.from_numpy(weight) if nn is lc.nn else torch.tensor(weight))

        compare(make, normal(5, 4), CLASSES)


@NESTED
def test_initialisation_has_pytorchs_distribution():
    """Standard deviation and range of each parameter, over enough elements to tell."""
    torch.manual_seed(0)
    for make in (
        lambda nn: nn.Linear(400, 300),
        lambda nn: nn.Conv2d(30, 40, 5),
        lambda nn: nn.ConvTranspose1d(60, 50, 9),
        lambda nn: nn.Embedding(300, 200),
        lambda nn: nn.LSTM(100, 100),
        lambda nn: nn.MultiheadAttention(120, 4),
        lambda nn: nn.Transformer(64, 4, 1, 1, 256),
        lambda nn: nn.BatchNorm2d(7),
    ):
        ours, theirs = make(lc.nn), make(torch.nn)
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            a, b = a.detach().numpy(), b.detach().numpy()
            assert abs(a.std() - b.std()) <= 0.1 * b.std() + 5 * b.std() / np.sqrt(b.size), name
            assert np.abs(a).max() <= 1.3 * np.abs(b).max(), name
            assert abs(a.mean() - b.mean()) <= 10 * b.std() / np.sqrt(b.size), name


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_normalize_and_rows_of_zeros(p):
    rows = np.random.default_rng(0).standard_normal((4, 5))
    rows[2] = 0
    dy = np.random.default_rng(1).standard_normal((4, 5))
    ours, theirs = lc.from_numpy(rows).requires_grad_(), torch.tensor(rows, requires_grad=True)
    got = lc.nn.functional.normalize(ours, p, dim=-1)
    want = torch.nn.functional.normalize(theirs, p, dim=-1)
    close(got, want, "normalize")
    got.backward(lc.from_numpy(dy))
    want.backward(torch.tensor(dy))
    assert np.isfinite(ours.grad.numpy()).all()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)
