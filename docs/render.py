"""The documentation as HTML, these pages and every public name: python docs/render.py FOLDER [MODULE...].

A link that leads nowhere is an error.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pdoc
import pdoc.render
from pdoc.render_helpers import to_html

HERE = Path(__file__).parent
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}}
pre{{overflow-x:auto;padding:.8rem;background:#f5f5f5}}td,th{{padding:.2rem .8rem;text-align:left}}</style>
<nav><a href="index.html">littlecore</a> &middot; <a href="{api}.html">every name</a></nav>
{text}</html>"""


class Links(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.names: set[str] = {""}
        self.targets: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.names.add(value)
            if value and tag == "a" and name == "href":
                self.targets.append(value)


def broken_links(folder: Path) -> list[str]:
    """page: target, for every link inside the folder that leads nowhere."""
    pages = {p.resolve(): Links(p) for p in folder.rglob("*.html")}
    wrong = []
    for page, links in pages.items():
        for target in links.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            to = (page.parent / unquote(url.path)).resolve() if url.path else page
            if to not in pages or unquote(url.fragment) not in pages[to].names:
                wrong.append(f"{page.relative_to(folder.resolve())}: {target}")
    return wrong


def build(folder: Path, modules: list[str]) -> None:
    """Writes the pages and the modules' documentation, submodules with them."""
    pdoc.render.configure(docformat="markdown", show_source=False)
    pdoc.pdoc(*modules, output_directory=folder)
    for page in HERE.glob("*.md"):
        text = re.sub(r"\]\((\w+)\.md", r"](\1.html", page.read_text())
        title = text.split("\n", 1)[0].lstrip("# ")
        html = PAGE.format(title=title, text=to_html(text), api=modules[0].replace(".", "/"))
        (folder / page.with_suffix(".html").name).write_text(html)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    build(out, sys.argv[2:] or ["littlecore"])
    if wrong := broken_links(out):
        sys.exit("links that lead nowhere:\n" + "\n".join(wrong))
