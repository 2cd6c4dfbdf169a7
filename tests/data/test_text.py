"""Tokenizers and windows of text."""

import numpy as np
import pytest

from littlecore.data import ByteTokenizer, CharTokenizer, DataError, SampleRandom, TextWindows, read_text


def rows(seed, epoch, *indices):
    index = np.array(indices)
    return index, SampleRandom(seed, epoch, index)


def test_characters_round_trip():
    tokenizer = CharTokenizer.of("hello, wörld")
    tokens = tokenizer.encode("hello")
    assert tokens.dtype == np.int64 and tokenizer.decode(tokens) == "hello"
    assert tokenizer.alphabet == " ,dehlorwö" and tokenizer.vocab_size == 10


def test_an_unknown_character_is_named():
    with pytest.raises(ValueError, match=r"'z' at position 2 .* alphabet of 3"):
        CharTokenizer("abc").encode("abz")
    with pytest.raises(ValueError, match="once"):
        CharTokenizer("aa")


def test_bytes_round_trip():
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode("né\n")
    assert tokens.tolist() == [0x6E, 0xC3, 0xA9, 0x0A] and tokenizer.decode(tokens) == "né\n"
    assert tokenizer.decode([0xC3]) == "\ufffd"


def test_read_text_names_the_byte(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("né".encode() + b"\xff\n")
    with pytest.raises(DataError, match=f"{path}: byte 3: not UTF-8"):
        read_text(path)
    path.write_text("né", encoding="utf-8")
    assert read_text(path) == "né"


def test_consecutive_windows_cover_each_target_once():
    tokens = np.arange(100)
    windows = TextWindows(tokens, 7)
    x, y = windows.batch(*rows(0, 0, *range(len(windows))))
    assert len(windows) == 14 and x.shape == (14, 7)
    np.testing.assert_array_equal(x.ravel(), np.arange(98))
    np.testing.assert_array_equal(y.ravel(), np.arange(1, 99))


def test_random_windows_are_new_in_every_epoch_and_reach_both_ends():
    windows = TextWindows(np.arange(20), 8, samples=500)
    x, y = windows.batch(*rows(3, 0, *range(500)))
    np.testing.assert_array_equal(y, x + 1)
    assert set(x[:, 0].tolist()) == set(range(12))
    again, _ = windows.batch(*rows(3, 0, 499, 0))
    np.testing.assert_array_equal(again, x[[499, 0]])
    other, _ = windows.batch(*rows(3, 1, *range(500)))
    assert (other[:, 0] != x[:, 0]).mean() > 0.8
    assert windows[0][0].shape == (8,)


def test_too_short_a_text_is_refused():
    with pytest.raises(ValueError, match="8 tokens hold no window of 8"):
        TextWindows(np.arange(8), 8)
