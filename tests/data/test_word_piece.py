"""Word pieces of a small vocabulary; tests/parity compares the tokens of BERT's own."""

import numpy as np
import pytest

from littlecore.data import WordPieceTokenizer
from littlecore.data.word_piece import words

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "a", "able", ",", "!", "the", "中", "##"]


def pieces(text, **options):
    tokenizer = WordPieceTokenizer(PIECES)
    tokens = tokenizer.encode(text, **options)
    assert tokens.dtype == np.int64
    return " ".join(PIECES[token] for token in tokens)


def test_the_longest_piece_first():
    assert pieces("unaffable, able!") == "[CLS] un ##aff ##able , able ! [SEP]"
    assert pieces("The UNAFF") == "[CLS] the un ##aff [SEP]"
    assert WordPieceTokenizer(PIECES).decode([4, 5, 6, 10, 9]) == "unaffable , able"


def test_what_it_cannot_make_is_unknown():
    assert pieces("a unb the") == "[CLS] a [UNK] the [SEP]"  # all of the word, not its end
    assert pieces("a" * 100).count("##a") == 99 and pieces("a" * 101) == "[CLS] [UNK] [SEP]"
    assert pieces("") == "[CLS] [SEP]"


def test_no_more_than_asked_for():
    assert pieces("a the able", length=4) == "[CLS] a the [SEP]"
    assert pieces("a the able", length=5) == pieces("a the able")


def test_words():
    assert words("Don't_stop\u2014NOW\u2026") == ["don", "'", "t", "_", "stop", "\u2014", "now", "\u2026"]
    assert words("\u00c9COLE na\u00efve e\u0301") == ["ecole", "naive", "e"]
    assert words("a\u4e2d\u6587b") == ["a", "\u4e2d", "\u6587", "b"]
    assert words("a\x00\ufffd\u200bb\tc\u00a0d\n") == ["ab", "c", "d"]


def test_a_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    tokenizer = WordPieceTokenizer.of(tmp_path / "vocab.txt")
    assert tokenizer.vocabulary == PIECES and tokenizer.vocab_size == len(PIECES)
    with pytest.raises(ValueError, match=r"the vocabulary lacks \[CLS\]"):
        WordPieceTokenizer(["[UNK]", "a"])
