"""Hugging Face's models with random weights, saved to safetensors and loaded by name: the same logits."""

import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

import littlecore as lc
from littlecore import data, models

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
WITHIN = 1e-4


def saved(model, folder):
    """Its weights as NumPy arrays, by way of the file that others load."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def whisper(decoder_layers=2, **options):
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=50, num_mel_bins=80, d_model=32, encoder_layers=3, decoder_layers=decoder_layers,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128,
        max_source_positions=50, max_target_positions=12, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, init_std=0.2, **options,
    )  # fmt: skip
    return transformers.WhisperForConditionalGeneration(config).eval()


def test_whisper(tmp_path):
    theirs = whisper()
    ours = models.whisper(
        vocab_size=50, mels=80, audio_length=50, text_length=12, width=32, heads=4, encoder_layers=3, decoder_layers=2
    )
    models.load_whisper(ours, saved(theirs, tmp_path))
    random = np.random.default_rng(0)
    mel = random.normal(0, 1, (2, 80, 100)).astype(np.float32)
    tokens = random.integers(0, 50, (2, 12))
    with torch.no_grad(), lc.no_grad():
        wanted = theirs(torch.from_numpy(mel), decoder_input_ids=torch.from_numpy(tokens)).logits.numpy()
        got = ours(lc.from_numpy(mel), lc.from_numpy(tokens)).numpy()
    difference = np.abs(got - wanted).max()
    print(f"logits up to {np.abs(wanted).max():.1f}: largest difference {difference:.1e}")
    assert np.abs(wanted).max() > 1 and difference <= WITHIN


def test_log_mel():
    """30 seconds, as long as every recording of Whisper's."""
    random = np.random.default_rng(0)
    sound = np.zeros(480_000, np.float32)
    sound[:200_000] = random.normal(0, 0.1, 200_000) * np.abs(np.sin(np.arange(200_000) / 5000))
    sound[200_000:300_000] = 0.5 * np.sin(np.arange(100_000) ** 1.5 / 500)
    extract = transformers.WhisperFeatureExtractor()
    wanted = extract(sound, sampling_rate=data.SPEECH_RATE, return_tensors="np").input_features[0]
    assert np.abs(data.log_mel(sound) - wanted).max() <= WITHIN


def test_clip(tmp_path):
    torch.manual_seed(0)
    sides = {"num_hidden_layers": 2, "num_attention_heads": 4}
    text = {"vocab_size": 30, "hidden_size": 24, "intermediate_size": 96, "max_position_embeddings": 9, **sides}
    vision = {"hidden_size": 32, "intermediate_size": 128, "image_size": 32, "patch_size": 8, **sides}
    text |= {"bos_token_id": 28, "eos_token_id": 29, "pad_token_id": 0}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    theirs = transformers.CLIPModel(config).eval()
    ours = models.clip(
        embed_dim=16, image_size=32, patch_size=8, vision_width=32, vision_heads=4, vision_layers=2, vocab_size=30,
        text_length=9, text_width=24, text_heads=4, text_layers=2, end=29,
    )  # fmt: skip
    models.load_clip(ours, saved(theirs, tmp_path))
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (3, 3, 32, 32)).astype(np.float32)
    tokens = random.integers(1, 28, (5, 9))
    tokens[np.arange(5), random.integers(2, 9, 5)] = 29
    with torch.no_grad(), lc.no_grad():
        wanted = theirs(torch.from_numpy(tokens), torch.from_numpy(images)).logits_per_image.numpy()
        got = ours(lc.from_numpy(images), lc.from_numpy(tokens)).numpy()
    difference = np.abs(got - wanted).max()
    print(f"logits up to {np.abs(wanted).max():.1f}: largest difference {difference:.1e}")
    assert np.abs(wanted).max() > 1 and difference <= WITHIN
