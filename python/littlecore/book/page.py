"""All results as one HTML page: figures, numbers with their gates, and every program's code folded beside them.

The page holds its images itself and needs no script, so it can be mailed, served or read from a disk.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import re
import struct
from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from littlecore.train.files import write_atomically

from .demo import CONFIG, DOTS_PER_INCH, METRICS, gate, shown
from .highlight import highlighted
from .sections import CHAPTERS, SECTIONS, Section, programs

PAGE = "index.html"
INCH = 96  # CSS pixels


def write_page(folder: Path) -> Path:
    """Write `folder`/index.html from the results below `folder`; ValueError if there are none. Returns its path."""
    results = {name: found for name in programs() if (found := _read(folder / name)) is not None}
    if not results:
        raise ValueError(f"{folder} holds no results: littlecore book run all --out {folder} makes them")
    path = folder / PAGE
    write_atomically(path, _page(folder, results).encode())
    return path


def _read(folder: Path) -> dict[str, Any] | None:
    """What a program left in its folder; None where it has not run."""
    if not (folder / METRICS).is_file():
        return None
    try:
        config = json.loads((folder / CONFIG).read_text())
        return {"metrics": json.loads((folder / METRICS).read_text()), **config}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder}: not the results of a program ({error})") from None


def _page(folder: Path, results: dict[str, dict[str, Any]]) -> str:
    first = programs()
    body = []
    for chapter, title in CHAPTERS.items():
        parts = [
            _section(section, folder, results, first)
            for section in SECTIONS
            if section.chapter == chapter and any(p in results for p in section.programs)
        ]
        if parts:
            number = f"<small>{chapter}</small>" if chapter.isdigit() else ""
            body += [f'<h2 id="c{chapter}">{number}{escape(title)}</h2>', *parts]
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    builds = sorted({line for result in results.values() for line in result["build"]})
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>The Little Book of Deep Learning, run by littlecore</title>
<link rel="icon" href="data:,"/>
<style>
{style}</style>
</head>
<body>
<header>
<h1>The Little Book of Deep Learning, run by littlecore</h1>
<p>The sections of <a href="https://fleuret.org/francois/lbdl.html">The Little Book of Deep
Learning</a> (F. Fleuret, version 1.2, 2024), each as a program on littlecore's own kernels. Every figure and every
number here was computed by the code that is folded below it; nothing is taken from the book. A gate is a bound that a
number has to keep, or the run has failed.</p>
{_summary(results)}
</header>
{_contents(results)}
<main>
{chr(10).join(body)}
<footer class="quiet">{"<br/>".join(map(escape, builds))}</footer>
</main>
</body>
</html>
"""


def _summary(results: dict[str, dict[str, Any]]) -> str:
    rows = [row for result in results.values() for row in result["metrics"]]
    ran = sum(any(p in results for p in section.programs) for section in SECTIONS)
    gated, missed = sum(bool(gate(row)) for row in rows), sum(not row["passed"] for row in rows)
    seconds = sum(result["seconds"] for result in results.values())
    duration = f"{seconds / 60:,.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    facts = {
        f"of {len(SECTIONS)} sections": f"{ran}",
        "programs": f"{len(results)}",
        "numbers": f"{len(rows)}",
        "with a gate": f"{gated}",
        "outside it": f'<span class="missed">{missed}</span>' if missed else "none",
        "to compute it all": duration,
    }
    items = "".join(f"<li><b>{value}</b> {name}</li>" for name, value in facts.items())
    return f'<ul class="summary">{items}</ul>'


def _contents(results: dict[str, Any]) -> str:
    chapters = []
    for chapter, title in CHAPTERS.items():
        sections = [section for section in SECTIONS if section.chapter == chapter]
        entries = [(section, any(p in results for p in section.programs)) for section in sections]
        head = f"{chapter} {escape(title)}" if chapter.isdigit() else escape(title)
        if any(ran for _, ran in entries):
            head = f'<a href="#c{chapter}">{head}</a>'
        else:
            head = f'<span class="none">{head}</span>'
        chapters.append(f"<li>{head}<ul>\n{chr(10).join(_entry(*entry) for entry in entries)}\n</ul></li>")
    return f'<nav aria-label="Contents"><ul>\n{chr(10).join(chapters)}\n</ul></nav>'


def _entry(section: Section, ran: bool) -> str:
    if ran:
        return f'<li>{_number(section)}<a href="#s{section.number}">{escape(section.title)}</a></li>'
    return f'<li class="none">{_number(section)}{escape(section.title)}</li>'


def _number(section: Section) -> str:
    return f"<small>{section.number if section.chapter.isdigit() else ''}</small>"


def _section(section: Section, folder: Path, results: dict[str, dict[str, Any]], first: dict[str, Section]) -> str:
    parts = [f'<h3 id="s{section.number}">{_number(section)}{escape(section.title)}</h3>']
    for name in section.programs:
        if name not in results:
            continue
        if first[name] is section:
            parts.append(_program(name, section, folder / name, results[name]))
        else:
            parts.append(f'<p>Shown in <a href="#s{first[name].number}">{first[name].number}</a>.</p>')
    return "\n".join(parts)


def _program(name: str, section: Section, folder: Path, result: dict[str, Any]) -> str:
    source = (resources.files(__package__) / f"{name}.py").read_text(encoding="utf-8")
    docstring = inspect.cleandoc(ast.get_docstring(ast.parse(source)) or "")
    lead, *paragraphs = docstring.split("\n\n")
    parts = [f'<p class="lead">{_prose(lead)}</p>', *(f"<p>{_prose(text)}</p>" for text in paragraphs)]
    for figure in result["figures"]:
        parts.append(_figure(folder / f"{figure['name']}.{figure.get('ending', 'png')}", escape(figure["caption"])))
    rows = "\n".join(_metric(row) for row in result["metrics"])
    parts.append(
        '<div class="scroll"><table><thead><tr><th>number</th><th class="number">value</th><th>gate</th></tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )
    what = section.number if len(section.programs) == 1 else name
    form = f"{' --full' if result['full'] else ''}{f' --seed {seed}' if (seed := result['seed']) else ''}"
    parts.append(f'<p class="quiet"><code>littlecore book run {what}{form}</code> took {result["seconds"]:.1f} s</p>')
    lines = source.count("\n")
    code = f"<pre><code>{highlighted(source)}</code></pre>"
    parts.append(f"<details><summary>{name}.py, {lines} lines</summary>{code}</details>")
    return "\n".join(parts)


def _prose(text: str) -> str:
    """`Code` between backticks is set as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _figure(path: Path, caption: str) -> str:
    """In the size that it was drawn for, so that letters are alike in all figures."""
    content = path.read_bytes()
    if path.suffix == ".png":
        kind, unit = "png", INCH / DOTS_PER_INCH
        size: Iterable[float] = struct.unpack(">II", content[16:24])  # pixels, of the PNG's first chunk
    else:  # a model's drawing
        kind, unit = "svg+xml", 1.0
        size = map(float, re.findall(rb'viewBox="0 0 (\S+) ([^"]+)"', content)[0])
    width, height = (int(side * unit) for side in size)
    style = ' class="wide"' if width > 7 * INCH else ""  # on a telephone it is scrolled, not shrunk
    return (
        f'<figure><div class="scroll"><img{style} src="data:image/{kind};base64,{base64.b64encode(content).decode()}" '
        f'width="{width}" height="{height}" alt="{caption}"/></div><figcaption>{caption}</figcaption></figure>'
    )


def _metric(row: dict[str, Any]) -> str:
    words = {"at most": "&#8804;", "at least": "&#8805;", "exactly": "="}
    bound = _typeset(re.sub("|".join(words), lambda m: words[m[0]], gate(row)))
    verdict = f'<td class="met">{bound}</td>' if bound else "<td></td>"
    if not row["passed"]:
        verdict = f'<td>{bound} <span class="missed">missed</span></td>'
    return f'<tr><td>{escape(row["name"])}</td><td class="number">{_typeset(shown(row["value"]))}</td>{verdict}</tr>'


def _typeset(text: str) -> str:
    """Numbers as they are printed in books: 2.5e-07 with a power of ten, a minus that is no hyphen."""
    powers = re.sub(r"(\d)e([+-]?)0*(\d+)", lambda m: f"{m[1]} &#215; 10<sup>{m[2].strip('+')}{m[3]}</sup>", text)
    return re.sub(r"-(?=\d)", "&#8722;", powers)
