"""Speech recognition: what was said, and in which language (section 6.5).

Whisper (Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022) turns sound into an image,
the power of 80 bands of frequencies every 10 ms. Two convolutions and a Transformer hear it, and a second Transformer
writes, token by token, what was said. Its first tokens are no words: one tells the language, which it finds out by
itself, the next one is an order, to write down what was said or to translate it into English.

Digits and directions, one to three in a row, are said in English and German by ten voices of eSpeak NG, three of which
are kept for the test. Those to learn from are also played faster and slower, which makes more voices of them (Ko et
al., Audio Augmentation for Speech Recognition, Interspeech 2015). The measure is the word error rate: words to change,
to add or to take away, of all that were said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo, plain_numbers
from .fit import fit

VOICES = ("m1", "m2", "m3", "m6", "f1", "f2", "f5")
UNSEEN = ("m4", "f3", "f4")
LANGUAGES = ("en-us", "de")
ENGLISH = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "left", "right", "up", "down",
)  # fmt: skip
GERMAN = (
    "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "links", "rechts", "hoch",
    "runter",
)  # fmt: skip
TOKENS = ("<end>", "<begin>", "<en>", "<de>", "<transcribe>", "<translate>", *ENGLISH, *GERMAN)
END, BEGIN, LANGUAGE, TRANSCRIBE, TRANSLATE, WORD = 0, 1, 2, 4, 5, 6  # places in TOKENS
MOST, SECONDS, BATCH = 3, 1.28, 16


@dataclass(frozen=True)
class Speech:
    """n recordings."""

    mels: Tensor  # [n, 80, 100 SECONDS]
    languages: Tensor  # [n]: index into LANGUAGES
    words: Tensor  # [n, MOST]: index into ENGLISH and GERMAN, -1 behind the last

    def tokens(self, task: int) -> Tensor:
        """All that is to be written: <begin>, language, order, words, <end>.    -> [n, 4 + MOST]"""
        spoken = self.languages * (task == TRANSCRIBE)
        words = self.words + (WORD + len(ENGLISH) * spoken).unsqueeze(1)
        words = lc.where(self.words >= 0, words, END)
        begin, order, end = (lc.full((len(words), 1), token) for token in (BEGIN, task, END))
        return lc.cat([begin, LANGUAGE + self.languages.unsqueeze(1), order, words, end], 1)


def run(demo: Demo) -> None:
    train, same, unseen = speech(demo.pick(30, 100))
    model = models.whisper(
        vocab_size=len(TOKENS), audio_length=round(50 * SECONDS), text_length=4 + MOST,
        width=64, heads=4, encoder_layers=1, decoder_layers=1,
    )  # fmt: skip
    losses = learn(demo, model, train)
    errors = {name: judge(demo, model, test, name) for name, test in (("known", same), ("unseen", unseen))}
    translation(demo, model, unseen)
    draw_errors(demo, losses, errors)
    draw_attention(demo, model, unseen)
    caption = "Whisper tiny, on 30 seconds of sound and 4 tokens."
    demo.drawing("whisper", caption, models.whisper("tiny"), (1, 80, 3000), lc.zeros(1, 4, dtype=lc.int64))


# ---- speech ----------------------------------------------------------------------------------------------------------


def speech(hundreds: int) -> tuple[Speech, Speech, Speech]:
    """Recordings to learn from, `hundreds` of them, and 200 each of the same and of unseen voices."""
    random = np.random.default_rng(0)
    train = recordings(random, VOICES, random.uniform(0.87, 1.15, hundreds))
    return train, recordings(random, VOICES, np.ones(2)), recordings(random, UNSEEN, np.ones(2))


def recordings(random: np.random.Generator, voices: Sequence[str], paces: np.ndarray) -> Speech:
    """A hundred for each pace, in turn in English and German."""
    count = 100 * len(paces)
    languages = np.arange(count) % 2
    words = random.integers(0, len(ENGLISH), (count, MOST))
    words[np.arange(MOST) >= random.integers(1, MOST + 1, (count, 1))] = -1
    sounds = data.speak(
        data.Phrase(
            " ".join((ENGLISH, GERMAN)[language][word] for word in row if word >= 0), LANGUAGES[language],
            voices[int(random.integers(len(voices)))], int(random.integers(190, 271)), int(random.integers(25, 76)),
        )
        for language, row in zip(languages, words, strict=True)
    )  # fmt: skip
    mels = [heard(list(islice(sounds, 100)), pace) for pace in paces]
    return Speech(lc.from_numpy(np.concatenate(mels)), lc.from_numpy(languages), lc.from_numpy(words))


def heard(sounds: list[np.ndarray], pace: float) -> np.ndarray:
    """The sounds, played faster by `pace`, as Whisper hears them; silence follows.    -> [n, 80, 100 SECONDS]"""
    rows = np.zeros((len(sounds), round(SECONDS * data.VOICE_RATE * pace)), np.float32)
    for row, sound in zip(rows, sounds, strict=True):
        row[: len(sound)] = sound
    return data.log_mel(data.resample(rows, rows.shape[1], round(SECONDS * data.SPEECH_RATE)))


# ---- learning and writing --------------------------------------------------------------------------------------------


def learn(demo: Demo, model: models.Whisper, train: Speech) -> list[float]:
    tasks = lc.stack([train.tokens(TRANSCRIBE), train.tokens(TRANSLATE)])  # [2, n, T]
    wanted = tasks[..., 1:].clone()
    wanted[..., 1] = -100  # the order is given, not guessed

    def loss() -> Tensor:
        rows, task = lc.randint(0, len(train.mels), (BATCH,)), lc.randint(0, 2, (BATCH,))
        logits = model(train.mels[rows], tasks[task, rows, :-1])
        return F.cross_entropy(logits.flatten(0, 1), wanted[task, rows].flatten())

    losses = fit(demo, model, loss, demo.pick(1600, 15000), 3e-3, warmup=100)
    model.eval()
    return losses


def write(model: models.Whisper, mels: Tensor, task: int) -> Tensor:
    """<begin>, the language as the model hears it, the order, what the model writes.    -> [n, 4 + MOST]"""
    begin, order = (lc.full((len(mels), 1), token) for token in (BEGIN, task))
    language = model.generate(mels, begin, END, 1)
    tokens = model.generate(mels, lc.cat([language, order], 1), END, MOST + 1)
    return lc.cat([tokens, lc.full((len(mels), 4 + MOST - tokens.shape[1]), END)], 1)


def text(row: Sequence[int]) -> list[int]:
    """The words in a row of tokens, up to <end>."""
    words = list(row[3:])
    return words[: words.index(END)] if END in words else words


def distance(a: Sequence[int], b: Sequence[int]) -> int:
    """The least number of words to change, add or take away that makes b of a (Levenshtein, 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        above, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            above, row[j + 1] = row[j + 1], min(above + (x != y), row[j] + 1, row[j + 1] + 1)
    return row[-1]


def word_errors(written: Tensor, true: Tensor) -> float:
    """The word error rate."""
    pairs = [(text(a), text(b)) for a, b in zip(written.tolist(), true.tolist(), strict=True)]
    return sum(distance(a, b) for a, b in pairs) / sum(len(b) for _, b in pairs)


# ---- how good --------------------------------------------------------------------------------------------------------


def judge(demo: Demo, model: models.Whisper, test: Speech, name: str) -> list[float]:
    """The word error rates of both tasks, and whether the language was told."""
    errors = []
    for task, order in ((TRANSCRIBE, "written down"), (TRANSLATE, "in English")):
        written = write(model, test.mels, task)
        errors.append(word_errors(written, test.tokens(task)))
        demo.metric(f"word error rate, {name} voices, {order}", errors[-1], at_most=0.05)
    right = (written[:, 1] == LANGUAGE + test.languages).float().mean().item()
    demo.metric(f"language told, {name} voices", right, at_least=0.98)
    return errors


def translation(demo: Demo, model: models.Whisper, test: Speech) -> None:
    """Of what is said in German, how much is written in German and English when asked for."""
    german = test.mels[test.languages == 1]
    for task, name, first, last in (
        (TRANSCRIBE, "German", WORD + len(ENGLISH), len(TOKENS)), (TRANSLATE, "English", WORD, WORD + len(ENGLISH)),
    ):  # fmt: skip
        words = [word for row in write(model, german, task).tolist() for word in text(row)]
        share = sum(first <= word < last for word in words) / len(words)
        demo.metric(f"German speech, {TOKENS[task]}: words that are {name}", share, at_least=0.98)


def draw_errors(demo: Demo, losses: list[float], errors: dict[str, list[float]]) -> None:
    figure = demo.figure(
        "errors", "Left: loss of each batch. Right: word error rate by who speaks and what is asked for.", (9.6, 3.4)
    )
    left, right = figure.subplots(1, 2)
    left.semilogy(losses, color=BLUE, linewidth=0.6)
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    plain_numbers(left.yaxis)
    for k, (name, colour) in enumerate(zip(errors, (BLUE, RED), strict=True)):
        right.bar([0.4 * k - 0.2, 0.4 * k + 0.8], errors[name], 0.36, color=colour, label=f"{name} voices")
    right.axhline(0.05, color=GREY, linewidth=0.8)
    right.set_xticks((0, 1), ("written down", "in English"))
    right.set(ylabel="word error rate", ylim=(0, 1.3 * max(0.05, *map(max, errors.values()))))
    right.legend(ncols=2, loc="upper center")


# ---- where it listens ------------------------------------------------------------------------------------------------


def attention(model: models.Whisper, mels: Tensor, tokens: Tensor) -> Tensor:
    """How much each token's successor owes to each 20 ms of sound, mean of the heads.    -> [n, T, 50 SECONDS]"""
    maps: list[Tensor] = []
    cross = model.model["decoder"].layers[-1].encoder_attn
    handle = cross.register_forward_hook(lambda module, inputs, _: maps.append(module.weights(*inputs).mean(1)))
    with lc.no_grad():
        model(mels, tokens)
    handle.remove()
    return maps[0]


def draw_attention(demo: Demo, model: models.Whisper, test: Speech) -> None:
    long = (test.words[:, -1] >= 0).numpy()
    english, german = (int(np.flatnonzero(long & (test.languages.numpy() == k))[0]) for k in (0, 1))
    figure = demo.figure(
        "attention",
        "Unseen voices, and what is made of them. Above: the spectrogram, bands of low frequency below. Below: how "
        "much the decoder attends to each moment to write each word (in front: the order).",
        (10.4, 4.4),
    )
    panels = figure.subplots(2, 3, sharex=True, height_ratios=(1.4, 1))
    columns = ((english, TRANSCRIBE), (german, TRANSCRIBE), (german, TRANSLATE))
    for (upper, lower), (row, task) in zip(panels.T, columns, strict=True):
        mel = test.mels[row : row + 1]
        tokens = write(model, mel, task)
        words = text(tokens[0].tolist())
        maps = attention(model, mel, tokens)[0, 2 : 2 + len(words)].numpy()
        upper.imshow(mel[0].numpy(), origin="lower", aspect="auto", extent=(0, SECONDS, 0, 80), cmap="magma")
        upper.set_title(" ".join(TOKENS[word] for word in words))
        lower.imshow(maps, aspect="auto", extent=(0, SECONDS, len(words), 0), interpolation="nearest")
        lower.set_yticks([k + 0.5 for k in range(len(words))], [TOKENS[word] for word in words])
        lower.set(xlabel="seconds", ylabel=TOKENS[task])
        for axes in (upper, lower):
            axes.grid(False)
    panels[0, 0].set_ylabel("mel band")
