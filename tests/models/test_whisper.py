"""Whisper: keys, what sees what, the end of a text, files of safetensors."""

import check
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import littlecore as lc
from littlecore import models
from littlecore.models.whisper import sinusoids

SMALL = {
    "vocab_size": 20, "mels": 8, "audio_length": 10, "text_length": 7, "width": 16, "heads": 2, "encoder_layers": 2,
    "decoder_layers": 1,
}  # fmt: skip


def test_every_key():
    """As Hugging Face's WhisperForConditionalGeneration has them."""

    def attention(name):
        return {f"{name}.k_proj.weight"} | {
            f"{name}.{part}_proj.{kind}" for part in ("v", "q", "out") for kind in ("weight", "bias")
        }

    def both(*names):
        return {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}

    layers = [f"model.encoder.layers.{k}" for k in range(2)] + ["model.decoder.layers.0"]
    keys = both("model.encoder.conv1", "model.encoder.conv2", "model.encoder.layer_norm", "model.decoder.layer_norm")
    keys |= {f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")}
    keys |= {"model.decoder.embed_tokens.weight", "proj_out.weight"}
    for layer in layers:
        parts = ("self_attn_layer_norm", "fc1", "fc2", "final_layer_norm")
        keys |= attention(f"{layer}.self_attn") | both(*(f"{layer}.{part}" for part in parts))
    keys |= attention(f"{layers[-1]}.encoder_attn") | both(f"{layers[-1]}.encoder_attn_layer_norm")
    assert set(models.whisper(**SMALL).state_dict()) == keys


def test_tiny_has_its_size_and_the_positions_stay():
    model = models.whisper("tiny")
    assert sum(p.numel() for p in model.parameters()) == 37_760_640
    assert not model.model["encoder"].embed_positions.weight.requires_grad


def test_positions():
    """Half sines, half cosines, of wavelengths from 2 pi to 2 pi 10^4."""
    table = sinusoids(10, 6).numpy()
    for t in range(10):
        for k, length in enumerate((1, 100, 10_000)):
            np.testing.assert_allclose(table[t, [k, 3 + k]], [np.sin(t / length), np.cos(t / length)], atol=1e-6)


def test_a_token_sees_those_before_it_and_all_of_the_sound():
    model = models.whisper(**SMALL)
    mel, tokens = lc.randn(1, 8, 20), lc.tensor([[1, 5, 3, 9, 2]])
    with lc.no_grad():
        before = model(mel, tokens)
        other = tokens.clone()
        other[0, 3] = 4
        after = model(mel, other)
        check.same_bits(before[:, :3], after[:, :3])
        assert (before[:, 3:] - after[:, 3:]).abs().amax(-1).min().item() > 1e-4
        mel[0, :, -1] += 1  # the last moment
        assert (before - model(mel, tokens)).abs().amax(-1).min().item() > 1e-5


def test_attention_weights_are_those_it_uses():
    attention = models.whisper(**SMALL).model["decoder"].layers[0].encoder_attn
    x, memory = lc.randn(2, 3, 16), lc.randn(2, 10, 16)
    with lc.no_grad():
        weights = attention.weights(x, memory)  # [2, heads, 3, 10]
        y = (weights @ attention.split(attention.v_proj(memory))).transpose(1, 2).flatten(2)
        np.testing.assert_allclose(attention.out_proj(y).numpy(), attention(x, memory).numpy(), atol=1e-5)
        np.testing.assert_allclose(weights.sum(-1).numpy(), 1, atol=1e-6)


def test_what_it_writes_is_the_likeliest_up_to_the_end():
    model = models.whisper(**SMALL)
    mel = lc.randn(3, 8, 20)
    with lc.no_grad():
        tokens = model.generate(mel, lc.tensor([[1], [2], [3]]), end=99, most=5)
        assert tokens.shape == (3, 6)
        np.testing.assert_array_equal(model(mel, tokens[:, :-1]).argmax(-1).numpy(), tokens[:, 1:].numpy())
        end = tokens[0, 1].item()  # what the first row writes first
        stopped = model.generate(mel, lc.tensor([[1], [2], [3]]), end=end, most=5)
        assert (stopped[0, 1:] == end).all()
        assert model.generate(mel[:1], lc.tensor([[1]]), end=end, most=5).shape == (1, 2)


@pytest.mark.parametrize("prompt", [1, 3])
def test_a_cache_changes_no_bit(prompt):
    model = models.whisper(**(SMALL | {"decoder_layers": 2}))
    mel, tokens = lc.randn(3, 8, 20), lc.randint(0, 20, (3, 7))
    with lc.no_grad():
        memory = model.encode(mel)
        cache = model.make_cache(memory)
        parts = [model.decode(tokens[:, :prompt], memory, cache)]
        parts += [model.decode(tokens[:, t : t + 1], memory, cache) for t in range(prompt, 7)]
        check.same_bits(lc.cat(parts, 1), model(mel, tokens))
        with pytest.raises(ValueError, match="8 tokens are more than text_length 7"):
            model.decode(tokens[:, :1], memory, cache)
        cache = model.make_cache(memory)
        model.decode(tokens[:, :2], memory, cache)
        with pytest.raises(ValueError, match="a cache of 2 tokens takes one more at a time, got 3"):
            model.decode(tokens[:, 2:5], memory, cache)


def test_files_without_the_readout_load(tmp_path):
    model, copy = models.whisper(**SMALL), models.whisper(**SMALL)
    state = {k: v.numpy().copy() for k, v in model.state_dict().items() if k != "proj_out.weight"}
    save_file(state, tmp_path / "model.safetensors")
    models.load_whisper(copy, load_file(tmp_path / "model.safetensors"))
    mel, tokens = lc.randn(2, 8, 20), lc.tensor([[1, 2, 3], [4, 5, 6]])
    with lc.no_grad():
        check.same_bits(model(mel, tokens), copy(mel, tokens))
    del state["model.encoder.conv1.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*conv1\.bias"):
        models.load_whisper(copy, state)


def test_mistakes_are_named():
    model = models.whisper(**SMALL)
    with pytest.raises(ValueError, match="8 tokens are more than text_length 7"):
        model(lc.randn(1, 8, 20), lc.zeros(1, 8, dtype=lc.int64))
    with pytest.raises(ValueError, match="22 columns of sound are more than 2 x audio_length 10"):
        model.encode(lc.randn(1, 8, 22))
    with pytest.raises(ValueError, match="width 16 must be divisible by heads 3"):
        models.whisper(**(SMALL | {"heads": 3}))
