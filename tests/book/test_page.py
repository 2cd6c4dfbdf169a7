"""The page of all results: whole, asking for nothing from elsewhere, readable on a desk and on a telephone."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import chromium
import pytest

from littlecore import models
from littlecore.book import sections
from littlecore.book.demo import CONFIG, METRICS, run_program
from littlecore.book.highlight import highlighted
from littlecore.book.page import write_page

pytest.importorskip("matplotlib")
BOOK = Path(sections.__file__).parent
RAN = ("basis_function_regression", "under_and_overfitting")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two programs, and of a third: a model's drawing, and awkward numbers, of which five miss their gates."""
    folder = tmp_path_factory.mktemp("results")
    for name in RAN:
        run_program(name, folder / name)
    (folder / "losses").mkdir()
    (folder / "losses" / "net.svg").write_text(models.lenet().draw((1, 1, 28, 28)).svg())
    figures = [{"name": "net", "ending": "svg", "caption": "LeNet"}]
    config = json.loads((folder / RAN[0] / CONFIG).read_text())
    (folder / "losses" / CONFIG).write_text(json.dumps({**config, "figures": figures, "full": True, "seed": 3}))
    values = [2.5e-7, -3e30, float("inf"), float("nan"), -0.125, 1e-300]
    rows = [
        {"name": f"<{'a number of a long name, ' * 4}> &", "value": value, "at_least": -1.5e-30, "at_most": 1e-9,
         "passed": 0 < value < 1e-9}
        for value in values
    ]  # fmt: skip
    (folder / "losses" / METRICS).write_text(json.dumps(rows))
    return write_page(folder)


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.every: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.every.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.every if name in attributes]


def test_nothing_is_fetched_and_nothing_is_missing(page: Path):
    text = page.read_text()
    elements = Elements(text)
    assert len([tag for tag, _ in elements.every if tag == "img"]) == 4 and len(elements.values("alt")) == 4
    kinds = {"data:image/png;base64": b"\x89PNG", "data:image/svg+xml;base64": b"<svg"}
    for kind, content in (source.split(",") for source in elements.values("src")):
        assert base64.b64decode(content).startswith(kinds[kind])
    assert not {tag for tag, _ in elements.every} & {"script", "iframe", "object", "embed", "form", "base"}
    assert not re.search(r"url\(|@import", text[: text.index("</style>")])
    links = [(tag, attributes["href"]) for tag, attributes in elements.every if "href" in attributes]
    assert [href for tag, href in links if tag == "link"] == ["data:,"]  # no icon is asked for
    identifiers = Counter(elements.values("id"))
    assert set(identifiers.values()) == {1}
    inside = {href[1:] for tag, href in links if tag == "a" and href.startswith("#")}
    assert inside == set(identifiers) == {"c1", "s1.2", "s1.3", "c3", "s3.1"}
    assert [href for _, href in links if not href.startswith(("#", "data:"))] == [
        "https://fleuret.org/francois/lbdl.html"
    ]


def test_what_the_page_says(page: Path):
    tree = ElementTree.parse(page).getroot()  # well-formed as XML, too
    assert tree.find(".//meta[@name='viewport']") is not None
    code = ["".join(pre.itertext()) for pre in tree.iter("pre")]
    assert code == [(BOOK / f"{name}.py").read_text() for name in (*RAN, "losses")]
    text = " ".join("".join(tree.itertext()).split())
    for words in (
        "3 of 44 sections", "3 programs", "test MSE, 6 points", "littlecore book run 1.2 took",
        "littlecore book run 3.1 --full --seed 3 took", "2.5 \u00d7 10\u22127", "\u22123 \u00d7 1030", "\u22120.125",
        "5 outside it", "missed", "nan", "inf",
    ):  # fmt: skip
        assert words in text, words
    assert len(list(tree.iterfind(".//*[@class='missed']"))) == 6  # five rows and the summary


def test_the_code_keeps_every_character():
    source = "def f(x: int) -> str:  # <comment>\n\treturn f\"{x!r:>{3}} {{\" + '''a\n&''' + \"é\"\n\nclass Ω: ...\n"
    tree = ElementTree.fromstring(f"<pre>{highlighted(source)}</pre>")
    assert "".join(tree.itertext()) == source
    kinds = {"".join(span.itertext()): span.get("class") for span in tree.iter("span")}
    assert kinds["def"] == "k" and kinds["f"] == "d" and kinds["# <comment>"] == "c" and kinds["Ω"] == "d"
    assert kinds["'''a\n&'''"] == "s"


# What lies to the right of the window, but for what can be scrolled there.
OUTSIDE = """[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre")
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + ": " + e.textContent.slice(0, 60))"""
SMALL = """[...document.querySelectorAll("p, td, li, figcaption, summary, code")]
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.textContent.slice(0, 60))"""
BROKEN = "[...document.images].filter(e => !e.complete || !e.naturalWidth).length"
NARROW = "Math.min(...[...document.images].map(e => e.getBoundingClientRect().width / innerWidth))"


@pytest.mark.skipif(chromium.found() is None, reason="needs Chromium")
def test_in_a_browser(page: Path, tmp_path: Path):
    opened = page.with_name("opened.html")
    opened.write_text(page.read_text().replace("<details>", '<details open="">'))
    with chromium.browser(tmp_path) as browser:
        for width, phone in ((1280, False), (390, True)):
            browser.open(opened, width, phone=phone)
            assert browser.evaluate("innerWidth") == width
            assert browser.complaints() == []
            assert [url for url in browser.requests() if not url.startswith("data:")] == [opened.as_uri()]
            assert browser.evaluate(BROKEN) == 0
            assert browser.evaluate(OUTSIDE) == []
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.evaluate(SMALL) == []
            if phone:
                assert browser.evaluate(NARROW) > 0.9  # a figure fills the telephone
