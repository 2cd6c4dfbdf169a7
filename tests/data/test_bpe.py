"""Byte pair encoding: lossless on any bytes, the merges of the definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littlecore.book.byte_pair_encoding import recounted
from littlecore.data import BytePairTokenizer

TEXT = "the cat sat on the mat; the hat of the cat, that sat.\n" * 20 + "aaaa aaa äöü 2024 20 24\n\n  x"
TOKENIZER = BytePairTokenizer.train(TEXT, 320)


@given(st.binary(max_size=200))
def test_any_bytes_come_back(content: bytes):
    tokens = TOKENIZER.encode_bytes(content)
    assert TOKENIZER.decode_bytes(tokens) == content
    assert len(tokens) <= len(content)


@given(st.text(max_size=100))
def test_any_text_comes_back(text: str):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_merges_are_those_of_the_definition():
    assert TOKENIZER.merges[:20] == recounted(TEXT, 20)


def test_it_compresses_and_is_rebuilt_from_its_merges():
    tokens = TOKENIZER.encode(TEXT)
    assert len(tokens) < len(TEXT.encode()) / 3 and tokens.dtype == "int64"
    assert list(BytePairTokenizer(TOKENIZER.merges).encode(TEXT)) == list(tokens)
    assert TOKENIZER.vocab_size == 256 + len(TOKENIZER.merges) <= 320


def test_training_ends_when_nothing_is_left_to_merge():
    assert BytePairTokenizer.train("ab", 1000).merges == [(97, 98)]
    assert BytePairTokenizer.train("", 300).merges == []


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at least 256"):
        BytePairTokenizer.train("x", 255)
    with pytest.raises(ValueError, match=r"merge 0 is of \(256, 1\), but only tokens below 256"):
        BytePairTokenizer([(256, 1)])
