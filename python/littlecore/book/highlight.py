"""Python in colours: source text as HTML, with a span around keywords, strings, comments and names defined."""

from __future__ import annotations

import io
import keyword
import tokenize
from html import escape

_KINDS = {tokenize.COMMENT: "c", tokenize.STRING: "s"}
# Python 3.12 cuts strings with values in them into parts.
_KINDS |= {getattr(tokenize, f"FSTRING_{part}", -1): "s" for part in ("START", "MIDDLE", "END")}


def highlighted(source: str) -> str:
    """Without the spans it is the escaped source, character by character."""
    starts = [0, 0]  # of each line; lines are counted from 1
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    parts, done, before = [], 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = _KINDS.get(token.type, "")
        if token.type == tokenize.NAME:
            kind = "k" if keyword.iskeyword(token.string) else "d" if before in ("def", "class") else ""
        before = token.string
        if kind:
            first, end = (starts[line] + column for line, column in (token.start, token.end))
            parts += [escape(source[done:first]), f'<span class="{kind}">{escape(source[first:end])}</span>']
            done = end
    return "".join([*parts, escape(source[done:])])
