"""CLIP: keys, the end of a text, the two encoders' meeting."""

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import models

SMALL = {
    "embed_dim": 12, "image_size": 16, "patch_size": 8, "vision_width": 16, "vision_heads": 2, "vision_layers": 2,
    "vocab_size": 20, "text_length": 7, "text_width": 8, "text_heads": 2, "text_layers": 2, "end": 19,
}  # fmt: skip


def test_every_key():
    """As Hugging Face's CLIPModel has them."""

    def both(name):
        return {f"{name}.weight", f"{name}.bias"}

    keys = {"logit_scale", "visual_projection.weight", "text_projection.weight"}
    keys |= {f"text_model.embeddings.{name}_embedding.weight" for name in ("token", "position")}
    keys |= {f"vision_model.embeddings.{name}_embedding.weight" for name in ("patch", "position")}
    keys |= {"vision_model.embeddings.class_embedding"} | both("text_model.final_layer_norm")
    keys |= both("vision_model.pre_layrnorm") | both("vision_model.post_layernorm")
    parts = [*(f"self_attn.{name}_proj" for name in "qkv"), "self_attn.out_proj", "mlp.fc1", "mlp.fc2"]
    for side in ("text", "vision"):
        for layer in range(2):
            for part in (*parts, "layer_norm1", "layer_norm2"):
                keys |= both(f"{side}_model.encoder.layers.{layer}.{part}")
    assert set(models.clip(**SMALL).state_dict()) == keys


def test_what_stands_behind_the_end_does_not_matter():
    model = models.clip(**SMALL)
    with lc.no_grad():
        a = model.encode_text(lc.tensor([[1, 5, 19, 0, 0, 0, 0], [1, 5, 6, 7, 8, 9, 19]]))
        b = model.encode_text(lc.tensor([[1, 5, 19, 3, 19, 4, 2], [1, 5, 6, 7, 8, 9, 19]]))
        c = model.encode_text(lc.tensor([[1, 5, 19], [1, 4, 19]]))
    check.same_bits(a, b)
    np.testing.assert_allclose(a[0].numpy(), c[0].numpy(), atol=1e-6)
    assert (c[0] - c[1]).abs().max().item() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(a.numpy(), axis=1), 1, rtol=1e-6)


def test_the_loss_is_symmetric_and_wants_the_diagonal():
    logits = lc.randn(6, 6)
    assert models.CLIP.loss(logits).item() == pytest.approx(models.CLIP.loss(logits.mT).item(), rel=1e-6)
    assert models.CLIP.loss(50 * lc.eye(6)).item() < 1e-6 < models.CLIP.loss(logits).item()


def test_checkpoints_with_numbers_of_places_load():
    model, copy = models.clip(**SMALL), models.clip(**SMALL)
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = lc.arange(7).unsqueeze(0)
    models.load_clip(copy, state)
    x, tokens = lc.rand(2, 3, 16, 16), lc.tensor([[1, 2, 19], [3, 4, 19]])
    with lc.no_grad():
        check.same_bits(model(x, tokens), copy(x, tokens))


def test_mistakes_are_named():
    model = models.clip(**SMALL)
    with pytest.raises(ValueError, match="8 tokens are more than text_length 7"):
        model.encode_text(lc.zeros(1, 8, dtype=lc.int64))
    with pytest.raises(ValueError, match="image_size 16 must be a multiple of patch_size 5"):
        models.clip(**(SMALL | {"patch_size": 5}))
