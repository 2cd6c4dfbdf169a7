"""All results as one HTML page: figures, numbers with their gates, and every program's code folded beside them.

The page holds its images itself and needs no script, so it can be mailed, served or read from a disk.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import struct
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from littlecore.train.files import write_atomically

from .demo import CONFIG, METRICS, gate, shown
from .sections import CHAPTERS, SECTIONS, Section, programs

PAGE = "index.html"

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; font: 1rem/1.55 system-ui, sans-serif; color: #1c1c1c;
       background: #fff; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; }
h3 { margin-top: 2.2rem; } h4 { margin: 1.6rem 0 .4rem; font-size: 1rem; }
a { color: #0b5fa5; } nav ul { list-style: none; padding: 0; columns: 17rem; } nav .none, .quiet { color: #6b6b6b; }
figure { margin: 1rem 0; } img { display: block; width: 100%; height: auto; }
img.wide { min-width: 36rem; }
figcaption { font-size: .92rem; color: #444; margin-top: .3rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.missed { color: #a63603; font-weight: 600; }
details { margin: .8rem 0; } summary { cursor: pointer; color: #0b5fa5; }
pre { overflow-x: auto; background: #f6f6f4; padding: .8rem; font-size: .8rem; line-height: 1.4; }
""".strip()


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
            number = chapter if chapter.isdigit() else ""
            body += [f"<h2>{number} {escape(title)}</h2>", *parts]
    count = sum(len(result["metrics"]) for result in results.values())
    missed = sum(not row["passed"] for result in results.values() for row in result["metrics"])
    gated = sum(bool(gate(row)) for result in results.values() for row in result["metrics"])
    verdict = "all within it" if not missed else f'<span class="missed">{missed} outside it</span>'
    contents = "\n".join(_entry(section, results) for section in SECTIONS)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>The Little Book of Deep Learning, run by littlecore</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>The Little Book of Deep Learning, run by littlecore</h1>
<p>The sections of <a href="https://fleuret.org/francois/lbdl.html">The Little Book of Deep
Learning</a> (F. Fleuret, version 1.2, 2024), as programs on littlecore's own
kernels. Every figure and number here was computed;
nothing is taken from the book. {len(results)} programs, {count} numbers,
{gated} of them with a gate, {verdict}.</p>
<nav><ul>
{contents}
</ul></nav>
{chr(10).join(body)}
</body>
</html>
"""


def _entry(section: Section, results: dict[str, Any]) -> str:
    text = f"{_number(section)} {escape(section.title)}".strip()
    if any(program in results for program in section.programs):
        return f'<li><a href="#s{section.number}">{text}</a></li>'
    return f'<li class="none">{text}</li>'


def _section(section: Section, folder: Path, results: dict[str, dict[str, Any]], first: dict[str, Section]) -> str:
    parts = [f'<h3 id="s{section.number}">{_number(section)} {escape(section.title)}</h3>']
    for name in section.programs:
        if name not in results:
            continue
        if first[name] is section:
            parts.append(_program(name, folder / name, results[name]))
        else:
            parts.append(f'<p>Shown in <a href="#s{first[name].number}">{first[name].number}</a>.</p>')
    return "\n".join(parts)


def _number(section: Section) -> str:
    return section.number if section.chapter.isdigit() else ""


def _program(name: str, folder: Path, result: dict[str, Any]) -> str:
    source = (resources.files(__package__) / f"{name}.py").read_text(encoding="utf-8")
    docstring = inspect.cleandoc(ast.get_docstring(ast.parse(source)) or "")
    parts = [f"<p>{escape(paragraph)}</p>" for paragraph in docstring.split("\n\n")]
    for figure in result["figures"]:
        parts.append(_figure(folder / f"{figure['name']}.png", escape(figure["caption"])))
    rows = "\n".join(_metric(row) for row in result["metrics"])
    parts.append(
        '<div class="scroll"><table><thead><tr><th>number</th><th class="number">value</th><th>gate</th></tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )
    form = "long form" if result["full"] else "quick form"
    parts.append(f'<p class="quiet">{form}, seed {result["seed"]}, {result["seconds"]:.1f} s</p>')
    parts.append(f"<details><summary>{name}.py</summary><pre><code>{escape(source)}</code></pre></details>")
    return "\n".join(parts)


def _figure(path: Path, caption: str) -> str:
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the PNG's first chunk
    kind = ' class="wide"' if width > 2 * height else ""
    return (
        f'<figure><div class="scroll"><img{kind} src="data:image/png;base64,{base64.b64encode(content).decode()}" '
        f'width="{width}" height="{height}" alt="{caption}"/></div><figcaption>{caption}</figcaption></figure>'
    )


def _metric(row: dict[str, Any]) -> str:
    mark = "" if row["passed"] else ' <span class="missed">missed</span>'
    return (
        f'<tr><td>{escape(row["name"])}</td><td class="number">{shown(row["value"])}</td>'
        f"<td>{gate(row)}{mark}</td></tr>"
    )
