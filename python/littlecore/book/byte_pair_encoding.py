"""Byte pair encoding: the tokenizer between text and a causal model (section 3.2).

The most frequent pair of neighbouring tokens becomes a new token, again and again (Sennrich, Haddow, Birch, ACL 2016).
Starting from the 256 bytes, any sequence of bytes can be encoded, and decoding gives back exactly that sequence.

The long form learns from 4 MB: the plays that come with this library, and the sources of Python's own.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from itertools import pairwise
from pathlib import Path

import littlecore as lc
from littlecore import data
from littlecore.data.bpe import BytePairTokenizer, pieces

from .demo import BLUE, Demo


def recounted(text: str, count: int) -> list[tuple[int, int]]:
    """The first `count` merges as the algorithm is written: all pairs are counted anew before every merge."""
    words = {tuple(piece): n for piece, n in Counter(pieces(text.encode())).items()}
    merges: list[tuple[int, int]] = []
    for token in range(256, 256 + count):
        pairs: Counter[tuple[int, int]] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        a, b = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((a, b))
        replaced: Counter[tuple[int, ...]] = Counter()
        for word, n in words.items():
            new: list[int] = []
            waiting = list(reversed(word))
            while waiting:
                new.append(waiting.pop())
                if new[-1] == a and waiting and waiting[-1] == b:
                    waiting.pop()
                    new[-1] = token
            replaced[tuple(new)] += n
        words = dict(replaced)
    return merges


def sources(count: int) -> str:
    """The first `count` characters of Python's library, file by file."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(path.read_text("utf-8", errors="replace") for path in files)[:count]


def run(demo: Demo) -> None:
    text = data.shakespeare()
    sample = text[:100_000] if not demo.full else text[:-100_000] + sources(4_000_000 - len(text) + 100_000)
    demo.metric("characters to learn from", len(sample))
    count = demo.pick(512, 4096)
    tokenizer = BytePairTokenizer.train(sample, 256 + count)

    check = demo.pick(60, 300)
    wrong = sum(a != b for a, b in zip(recounted(sample, check), tokenizer.merges[:check], strict=True))
    demo.metric(f"merges unlike those of the plain algorithm, of {check}", wrong, at_most=0)

    strings = demo.pick(100_000, 1_000_000)
    lengths = lc.randint(0, 33, (strings,)).tolist()
    noise = bytes(lc.randint(0, 256, (sum(lengths),)).tolist())
    failures, start = 0, 0
    for length in demo.progress(lengths, "round trips"):
        string = noise[start : start + length]
        failures += tokenizer.decode_bytes(tokenizer.encode_bytes(string)) != string
        start += length
    demo.metric(f"random byte strings changed by a round trip, of {strings:,}", failures, at_most=0)
    unseen = text[-100_000:]
    demo.metric("unseen text changed by a round trip", tokenizer.decode(tokenizer.encode(unseen)) != unseen, at_most=0)

    sizes = [2**k for k in range(4, count.bit_length())]
    rates = [len(unseen) / len(BytePairTokenizer(tokenizer.merges[:n]).encode(unseen)) for n in sizes]
    demo.metric(f"characters a token in unseen text, {256 + sizes[-1]} tokens", rates[-1], at_least=1.8)
    figure = demo.figure("compression", "Characters that a token stands for in unseen text, against the merges made.")
    axes = figure.subplots()
    axes.semilogx(sizes, rates, "o-", color=BLUE)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="merges", ylabel="characters a token")
    for n, rate in zip(sizes, rates, strict=True):
        piece = tokenizer.decode([255 + n])
        axes.annotate(repr(piece)[1:-1].replace(" ", "␣"), (n, rate), (-8, 6), textcoords="offset points", ha="center")
    axes.margins(y=0.12)
