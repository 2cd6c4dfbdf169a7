"""Sizes, shapes, keys and names of the models."""

import math

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import models, nn


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: models.mlp(), 1_557),
        (lambda: models.lenet(), 105_506),
        (lambda: models.resnet20(), 269_722),
        (lambda: models.resnet18(), 11_689_512),
        (lambda: models.resnet34(), 21_797_672),
        (lambda: models.resnet50(), 25_557_032),
        (lambda: models.alexnet(), 61_100_840),
        (lambda: models.vgg("vgg11"), 132_863_336),
        (lambda: models.gpt("gpt2"), 124_439_808),
        (lambda: models.vit(), 86_567_656),
        (lambda: models.clip(), 151_277_313),
        (lambda: models.dqn(4), 1_686_180),
    ],
    ids=[
        "mlp",
        "lenet",
        "resnet20",
        "resnet18",
        "resnet34",
        "resnet50",
        "alexnet",
        "vgg11",
        "gpt2",
        "vit",
        "clip",
        "dqn",
    ],
)
def test_parameter_counts(make, count):
    assert parameters(make()) == count


def shapes(model, *inputs):
    """Output shape of every module, by name."""
    found = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, x, y, name=name: found.update({name: tuple(y.shape)}))
    model(*inputs)
    return found


def test_the_walk_through_lenet():
    found = shapes(models.lenet(), lc.zeros(2, 1, 28, 28))
    assert found == {"conv1": (2, 32, 24, 24), "conv2": (2, 64, 4, 4), "fc1": (2, 200), "fc2": (2, 10), "": (2, 10)}


def test_the_walk_through_resnet50():
    model = models.resnet50().eval()
    with lc.no_grad():
        found = shapes(model, lc.zeros(1, 3, 64, 64))
    walk = {"conv1": (64, 32), "maxpool": (64, 16), "layer1": (256, 16), "layer2": (512, 8), "layer3": (1024, 4)}
    assert {k: (v[1], v[2]) for k, v in found.items() if k in walk} == walk
    assert found["layer4"] == (1, 2048, 2, 2) and found[""] == (1, 1000)
    keys = list(model.state_dict())
    assert keys[:2] == ["conv1.weight", "bn1.weight"] and keys[-2:] == ["fc.weight", "fc.bias"]
    assert {"layer1.0.downsample.0.weight", "layer4.2.bn3.num_batches_tracked"} <= set(keys) and len(keys) == 320
    assert not any(k.endswith("conv1.bias") for k in keys)


def test_small_images_through_resnet20():
    model = models.resnet20(in_channels=1)
    assert tuple(model(lc.zeros(2, 1, 28, 28)).shape) == (2, 10)
    assert len([k for k in model.state_dict() if "conv" in k]) == 19


@pytest.mark.parametrize("size, maps", [("nature", ((32, 20), (64, 9), (64, 7))), ("small", ((16, 20), (32, 9)))])
def test_the_walk_through_dqn(size, maps):
    model = models.dqn(6, size=size)
    found = shapes(model, lc.zeros(2, 4, 84, 84))
    assert [found[f"network.{2 * k}"][1:3] for k in range(len(maps))] == list(maps) and found[""] == (2, 6)
    with pytest.raises(ValueError, match=r"\(84, 80\)"):
        model(lc.zeros(1, 4, 84, 80))
    with pytest.raises(ValueError, match="got 'large'"):
        models.dqn(6, size="large")


def test_alexnet_keys_and_shape():
    model = models.alexnet(7).eval()
    with lc.no_grad():
        found = shapes(model, lc.zeros(1, 3, 224, 224))
    assert found["features"] == (1, 256, 6, 6) and found[""] == (1, 7)
    keys = list(model.state_dict())
    assert keys[0] == "features.0.weight" and keys[-1] == "classifier.6.bias" and len(keys) == 16


def test_vgg_keys_and_shape():
    model = models.vgg("vgg13", 7, batch_norm=True).eval()
    keys = list(model.state_dict())
    assert keys[0] == "features.0.weight" and keys[-1] == "classifier.6.bias" and "features.1.running_mean" in keys
    with lc.no_grad():
        assert tuple(model(lc.zeros(1, 3, 32, 32)).shape) == (1, 7)


def both(name):
    return [f"{name}.weight", f"{name}.bias"]


def norm(name):
    return [*both(name), *(f"{name}.{s}" for s in ("running_mean", "running_var", "num_batches_tracked"))]


def test_every_key_of_gpt2():
    """As the published checkpoint has them, under "transformer." and with the readout."""
    parts = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    keys = ["transformer.wte.weight", "transformer.wpe.weight"]
    keys += [k for i in range(12) for part in parts for k in both(f"transformer.h.{i}.{part}")]
    keys += [*both("transformer.ln_f"), "lm_head.weight"]
    assert list(models.gpt("gpt2", n_embd=24, vocab_size=50, block_size=8).state_dict()) == keys


def test_every_key_of_resnet50():
    """As torchvision has them."""
    keys = ["conv1.weight", *norm("bn1")]
    for layer, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            for i in (1, 2, 3):
                keys += [f"{at}.conv{i}.weight", *norm(f"{at}.bn{i}")]
            if block == 0:
                keys += [f"{at}.downsample.0.weight", *norm(f"{at}.downsample.1")]
    assert list(models.resnet50().state_dict()) == [*keys, *both("fc")]


@pytest.mark.parametrize(
    "name, convolutions",
    [("vgg11", (0, 3, 6, 8, 11, 13, 16, 18)), ("vgg16", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))],
)
def test_every_key_of_vgg(name, convolutions):
    model = models.vgg(name, 3)
    keys = [k for i in convolutions for k in both(f"features.{i}")]
    assert list(model.state_dict()) == keys + [k for i in (0, 3, 6) for k in both(f"classifier.{i}")]


@pytest.mark.parametrize("readout", ["linear", "mlp"])
def test_vit(readout):
    options = {"image_size": 28, "patch_size": 7, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
    model = models.vit(num_classes=10, in_channels=1, readout=readout, **options)
    assert tuple(model(lc.zeros(3, 1, 28, 28)).shape) == (3, 10)
    keys = set(model.state_dict())
    assert {"class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.ln.bias"} <= keys
    assert "encoder.layers.encoder_layer_1.self_attention.in_proj_weight" in keys
    assert ("heads.head.weight" in keys) == (readout == "linear") and ("heads.4.weight" in keys) == (readout == "mlp")
    with pytest.raises(ValueError, match=r"\(14, 28\)"):
        model(lc.zeros(1, 1, 14, 28))


def test_patches_of_vit_are_a_linear_layer():
    model = models.vit(image_size=8, patch_size=4, num_layers=0, num_heads=1, hidden_dim=6, mlp_dim=8, in_channels=2)
    lc.manual_seed(0)
    x, bias = lc.randn(1, 2, 8, 8), nn.init.normal_(model.conv_proj.bias).detach().numpy()
    y = model.conv_proj(x).detach().numpy()[0]  # [6, 2, 2]
    weight, image = model.conv_proj.weight.detach().numpy().reshape(6, -1).astype(np.float64), x.numpy()[0]
    for i in range(2):
        for j in range(2):
            patch = image[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].reshape(-1).astype(np.float64)
            size = np.abs(weight) @ np.abs(patch) + np.abs(bias)
            check.contraction(y[:, i, j], weight @ patch + bias, size, 32)


def test_gpt_keys_tying_and_initial_values():
    model = models.gpt(vocab_size=500, block_size=64, n_layer=3, n_head=4, n_embd=128)
    keys = list(model.state_dict())
    assert keys[:3] == ["transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight"]
    assert {"transformer.h.2.mlp.c_proj.bias", "transformer.ln_f.weight", "lm_head.weight"} <= set(keys)
    assert model.lm_head.weight is model.transformer["wte"].weight
    std = {n: float(np.std(p.detach().numpy())) for n, p in model.named_parameters()}
    assert abs(std["transformer.wte.weight"] - 0.02) < 1e-3
    assert abs(std["transformer.h.1.attn.c_proj.weight"] - 0.02 / math.sqrt(6)) < 1e-3
    loss = nn.functional.cross_entropy(model(lc.zeros(2, 9, dtype=lc.int64)).flatten(0, 1), lc.arange(18))
    assert abs(loss.item() - math.log(500)) < 0.3
    with pytest.raises(ValueError, match="65 tokens"):
        model(lc.zeros(1, 65, dtype=lc.int64))


def test_gpt_is_causal_to_the_bit():
    model = models.gpt(vocab_size=40, block_size=32, n_layer=2, n_head=2, n_embd=16).eval()
    tokens = np.random.default_rng(0).integers(0, 40, (2, 32))
    changed = tokens.copy()
    changed[:, 20:] = (changed[:, 20:] + 7) % 40
    with lc.no_grad():
        a, b = (model(lc.from_numpy(t)).numpy() for t in (tokens, changed))
    np.testing.assert_array_equal(a[:, :20], b[:, :20])
    assert not np.array_equal(a[:, 20:], b[:, 20:])


def test_gpt_takes_checkpoints_in_hugging_faces_layout():
    model, copy = (models.gpt(vocab_size=40, block_size=8, n_layer=2, n_head=2, n_embd=16) for _ in range(2))
    state = {}
    for key, value in model.state_dict().items():
        turned = key.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        state[key.removeprefix("transformer.")] = np.ascontiguousarray(value.numpy().T) if turned else value.numpy()
    del state["lm_head.weight"]
    state["h.0.attn.bias"] = np.tril(np.ones((1, 1, 8, 8), np.float32))
    models.load_gpt2(copy, state)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(copy.state_dict()[key].numpy(), value.numpy())


def test_transformer_is_causal_and_stops():
    model = models.transformer(11, 13, dim=16, heads=2, layers=2, hidden=32, padding=0).eval()
    source, target = lc.tensor([[3, 4, 5, 0], [6, 7, 8, 9]]), lc.tensor([[1, 2, 3, 4], [1, 5, 6, 7]])
    with lc.no_grad():
        logits = model(source, target)
        assert tuple(logits.shape) == (2, 4, 13)
        shorter = model(source, target[:, :2])
    check.same_bits(logits[:, :2], shorter)
    with lc.no_grad():  # what stands behind padding cannot matter
        padded = model(lc.tensor([[3, 4, 5, 0, 0, 0]]), target[:1])
    check.same_bits(logits[:1], padded)
    tokens = model.generate(source, begin=1, end=2, max_length=6)
    assert tokens.shape[0] == 2 and tokens[:, 0].tolist() == [1, 1] and tokens.shape[1] <= 7


def test_sinusoidal_encoding():
    table = models.sinusoidal_encoding(50, 16, dtype=lc.float64).numpy()
    t, i = 37, 5
    assert table[t, 2 * i] == pytest.approx(math.sin(t / 1e4 ** (2 * i / 16)), abs=1e-12)
    assert table[t, 2 * i + 1] == pytest.approx(math.cos(t / 1e4 ** (2 * i / 16)), abs=1e-12)
    with pytest.raises(ValueError, match="even"):
        models.sinusoidal_encoding(3, 5)


def test_summary_counts_what_the_book_counts():
    found = models.lenet().summary((1, 1, 28, 28), verbose=False)
    macs = 24 * 24 * 32 * 25 + 4 * 4 * 64 * 32 * 25 + 256 * 200 + 200 * 10
    bias = 24 * 24 * 32 + 4 * 4 * 64 + 200 + 10
    activations = 2 * 32 * 8 * 8 + 2 * 64 * 2 * 2 + 200
    assert found.parameters == 105_506 and found.flops == 2 * macs + bias + activations
    assert [r.name for r in found.rows] == ["", "conv1", "conv2", "fc1", "fc2"]
    assert [r.shape for r in found.rows[1:3]] == [(1, 32, 24, 24), (1, 64, 4, 4)]
    assert "105,506 parameters" in str(found) and "1x32x24x24" in str(found)
    model = models.gpt(vocab_size=40, block_size=8, n_layer=1, n_head=2, n_embd=16)
    model.train()
    rows = nn.summary(model, lc.zeros(1, 8, dtype=lc.int64), verbose=False).rows
    assert sum(r.parameters for r in rows if r.depth == 1) == parameters(model) and rows[-1].parameters == 0
    assert model.training and not model._hooked and nn.functional.linear is lc._core.linear
    width, t, heads, vocabulary = 16, 8, 2, 40
    linear = t * (3 + 1 + 4 + 4) * (2 * width * width) + t * (3 + 1 + 4 + 1) * width  # products and biases
    attention = heads * t * t * (4 * (width // heads) + 5)
    readout = t * vocabulary * 2 * width
    pointwise = {r.kind: r.flops for r in rows if r.kind in ("LayerNorm", "GELU", "Embedding", "Dropout")}
    others = sum(r.flops for r in rows if r.leaf and r.kind in pointwise)
    assert rows[0].flops == linear + attention + readout + others and pointwise["GELU"] == t * 4 * width
    tree = models.mlp().summary(verbose=False)
    assert tree.parameters == 1_557 and [r.name for r in tree.rows] == ["", "layers", "0", "1", "2", "3", "4"]


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("pyramid", [(), (1, 2, 4)])
def test_unet(skips, pyramid):
    options = {"widths": (4, 8, 16), "skips": skips, "pyramid": pyramid, "norm": bool(pyramid)}
    model = models.unet(in_channels=2, out_channels=3, **options)
    found = shapes(model, lc.rand(5, 2, 16, 24))
    assert found[""] == (5, 3, 16, 24) and found["down.2"] == (5, 16, 4, 6) and found["grow.1"] == (5, 4, 16, 24)
    assert model.up[0][0].weight.shape[1] == (16 if skips else 8)
    if pyramid:
        assert found["pyramid.reduce.2"] == (5, 5, 4, 4) and found["pyramid"] == (5, 16, 4, 6)
    with pytest.raises(ValueError, match="multiples of 4"):
        model(lc.rand(1, 2, 16, 18))


def test_a_denoising_unet_without_a_class_and_the_class_that_stands_for_none():
    model = models.denoising_unet(in_channels=2, widths=(8, 16), steps=10, classes=3)
    nn.init.normal_(model.readout.weight)
    x, step = lc.randn(2, 2, 6, 4), lc.tensor([0, 9])
    with lc.no_grad():
        y = model(x, step)
        assert y.shape == x.shape
        check.same_bits(y, model(x, step, lc.tensor([3, 3])))
        one = model(x, step, lc.tensor([3, 1]))
        check.same_bits(y[0], one[0])
        assert (y[1] - one[1]).abs().max().item() > 1e-3
        assert (y - model(x, lc.tensor([1, 9])))[0].abs().max().item() > 1e-3
    assert "times" not in model.state_dict()
    with pytest.raises(ValueError, match="must have sides that are multiples of 2"):
        model(lc.randn(2, 2, 5, 4), step)
    with pytest.raises(ValueError, match="classes=0 takes no label"):
        models.denoising_unet(widths=(8, 8), steps=10)(lc.randn(2, 1, 4, 4), step, step)
