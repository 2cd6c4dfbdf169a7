"""model.draw: the models of the book's figures 5.1 to 5.9, as drawings.txt has them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import littlecore as lc
from littlecore import Tensor, models, nn
from littlecore.nn import functional as F

SVG = "{http://www.w3.org/2000/svg}"


def tokens(count: int) -> Tensor:
    return lc.zeros(1, count, dtype=lc.int64)


def figures() -> dict[str, tuple[nn.Module, Any]]:
    resnet, seq = models.resnet50(), models.transformer(100, 90, dim=64, heads=4, layers=6, hidden=256)
    vit = models.vit(image_size=28, patch_size=7, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10,
                     in_channels=1, readout="mlp")  # fmt: skip
    gpt = models.gpt(vocab_size=100, block_size=16, n_layer=4, n_head=4, n_embd=64)
    return {
        "5.1": (models.mlp(), [(1, 50)]),
        "5.2": (models.lenet(), [(1, 1, 28, 28)]),
        "5.3": (resnet.layer1[1], [(1, 256, 14, 14)]),
        "5.4": (resnet.layer2[0], [(1, 256, 14, 14)]),
        "5.5": (resnet, [(1, 3, 224, 224)]),
        "5.6, self-attention": (seq.transformer.encoder.layers[0], [(1, 8, 64)]),
        "5.6, cross-attention": (seq.transformer.decoder.layers[0], [(1, 6, 64), (1, 8, 64)]),
        "5.7": (seq, [tokens(8), tokens(6)]),
        "5.8": (gpt, [tokens(16)]),
        "5.9": (vit, [(1, 1, 28, 28)]),
    }


def test_the_figures_of_the_book():
    golden = (Path(__file__).parent / "drawings.txt").read_text()
    drawings = {name: model.draw(*example) for name, (model, example) in figures().items()}
    assert "\n\n".join(f"figure {name}\n{drawing}" for name, drawing in drawings.items()) + "\n" == golden
    for drawing in drawings.values():
        tree = ElementTree.fromstring(drawing.svg())
        words = [text.text for text in tree.iter(f"{SVG}text")]
        frames = [box for box in tree.iter(f"{SVG}rect") if box.get("stroke-dasharray")]
        filled = [box for box in tree.iter(f"{SVG}rect") if box.get("fill") == "#0072B2"]
        drawn = [line.box for line in drawing.lines if line.box.times == 1]
        assert len(frames) == len(drawing.lines) - len(drawn)
        assert len(filled) == sum(box.learns and box.kind != "+" for box in drawn)
        assert all(box.kind in words for box in drawn)


class Odd(nn.Module):
    """A layer kept beside a function, used twice, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(4, 4), F.gelu

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.layer(x))
        return lc._core.cat([self.layer(y), x], -1)


def test_what_a_drawing_leaves_as_it_was():
    model, add, cat = Odd().train(), Tensor.__add__, lc._core.cat
    lines = str(model.draw((3, 4))).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "Odd: 20 parameters", "1 input 4", "2 Linear * 4 20", "3 gelu 4", "4 Linear * 4 shared", "5 cat 8 <- 1, 4",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="needs an example"):
        model.draw()
    with pytest.raises(ValueError, match="takes 4"):
        model.draw((3, 5))  # and after a failure
    assert model.training and not model._hooked and model.function is F.gelu is lc._core.gelu
    assert Tensor.__add__ is add and lc._core.cat is cat


class Viewed(nn.Module):
    """What enters the blocks is a view; between them is a layer that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.TransformerEncoderLayer(4, 1, 4, dropout=0.0, batch_first=True)
        self.layer, self.nothing, self.blocks = nn.Linear(4, 4), nn.Identity(), nn.TransformerEncoder(block, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.nothing(self.layer(x)).mT)


def test_a_view_goes_on_from_what_it_views_and_nothing_is_not_drawn():
    lines = [line.split() for line in str(Viewed().draw((1, 4, 4))).splitlines()]
    assert lines[2][:2] == ["2", "Linear"] and lines[3][:4] == ["3", "TransformerEncoderLayer", "*", "x2"]
    assert [line[-3:] for line in lines if line[1] == "+"] == [["<-", "3,", "5"], ["<-", "7,", "12"]]
