"""draw: a model as a flow of data, in text and in SVG, read off one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

from .. import _core
from .._core import Tensor
from .module import Module
from .parameter import Parameter
from .summary import functions_replaced, inputs_of, watched

CONTAINERS = ("Sequential", "ModuleList")  # they hold layers and are none


@dataclass(eq=False)
class Box:
    """A layer, a function, or (with `inside`) a block of them that runs `times` times."""

    kind: str
    shape: tuple[int, ...] = ()  # of a sample, behind it
    parameters: int = 0  # each counted once in the whole drawing
    learns: bool = False  # it has parameters, though they may be counted elsewhere
    sources: tuple[Box, ...] = ()  # what its inputs came out of, where that is known
    inside: list[Box] = field(default_factory=list)
    times: int = 1
    alone: bool = False  # it reads what the model makes up, such as the numbers of places
    stand_in: Box | None = None  # drawn in its place

    def alike(self, other: Box) -> bool:
        """They can be drawn as one that repeats."""
        return (self.kind, self.shape, self.parameters) == (other.kind, other.shape, other.parameters)


@dataclass
class Line:
    """A box of the drawing. `sources`: numbers of the lines it reads; a block's own, inside it, is what enters."""

    number: int
    depth: int
    box: Box
    above: int  # the line before it that is not inside another
    sources: tuple[int, ...] = ()
    last: int = 0  # of the lines inside it


def draw(model: Module, *example: Any) -> Drawing:
    """Run model once on `example` (tensors, or shapes, filled with ones) and draw what its layers did, in that order.

        print(model.draw((1, 1, 28, 28)))
        Path("model.svg").write_text(model.draw(tokens).svg())

    Layers with parameters are marked, the shape of a sample behind each stands at its right, then its parameters and,
    where it is not the line above, what it reads. Blocks that repeat are drawn once. Sums, concatenations and the
    functions of nn.functional are drawn, concatenations too; what else happens to a tensor between layers is not.
    """
    if not example:
        raise ValueError("draw: needs an example of what the model is given, such as (1, 3, 224, 224)")
    inputs = inputs_of(model, example)
    tracer = _Tracer(len(inputs[0]))
    for x in inputs:
        tracer.comes_out(Box("input"), x)
    starts = list(tracer.origin.values())
    with watched(model, tracer.enter, tracer.leave), functions_replaced(model, tracer.function), tracer.joins():
        model(*inputs)
    whole = tracer.open[0].inside[0]
    return Drawing(type(model).__name__, sum(p.numel() for p in model.parameters()), [*starts, *_shown(whole.inside)])


class Drawing:
    """What `draw` found; prints as text."""

    def __init__(self, title: str, parameters: int, boxes: list[Box]) -> None:
        self.title, self.parameters, self.boxes = title, parameters, boxes
        self.lines: list[Line] = []
        _number(boxes, self.lines, {})

    def __repr__(self) -> str:
        rows = [f"{self.title}: {self.parameters:,} parameters"]
        for line in self.lines:
            box = line.box
            times = f"  x{box.times}" if box.times > 1 else ""
            name = f"{line.number:>3}  {'    ' * line.depth}{box.kind}{' *' if box.learns else ''}{times}"
            count = f"{box.times * box.parameters:,}" if box.parameters else "shared" if box.learns else ""
            read = ", ".join(map(str, line.sources)) or "nothing"
            reads = "" if box.kind == "input" or line.sources == (line.above,) else f"   <- {read}"
            rows.append(f"{name:<40}{by_shape(*box.shape):<18}{count:>12}{reads}".rstrip())
        return "\n".join(rows)

    def svg(self) -> str:
        """The drawing as a file of SVG: layers with parameters are filled, dashed frames repeat."""
        return _svg(self)

    _repr_svg_ = svg  # notebooks show it


def by_shape(*shape: int) -> str:
    """As the drawing has it: 3 x 224 x 224."""
    return " x ".join(map(str, shape))


# ---- one forward pass ------------------------------------------------------------------------------------------------


class _Tracer:
    """Follows a forward pass: what ran inside of what, and out of which box each tensor came."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.open = [Box("")]
        self.origin: dict[int, Box] = {}  # by the identity of a tensor
        self.kept: list[Tensor] = []  # so that no identity is given twice
        self.latest = self.open[0]
        self.seen: set[int] = set()
        self.within_function = False

    def comes_out(self, box: Box, output: Any) -> None:
        found = list(_tensors(output))
        shape = tuple(found[0].shape) if found else ()
        box.shape = shape[1:] if shape[:1] == (self.batch,) else shape
        self.knows(box, found)
        self.latest = box

    def knows(self, box: Box, tensors: Iterable[Tensor]) -> None:
        for x in tensors:
            self.kept.append(x)
            self.origin[id(x)] = box

    def sources(self, *args: Any) -> tuple[Box, ...]:
        return tuple(dict.fromkeys(self.origin[id(x)] for x in _tensors(args) if id(x) in self.origin))

    def fresh(self, parameters: Iterable[Parameter]) -> int:
        """Numbers in parameters that no box before this one has."""
        return sum(count for p, count in {id(p): p.numel() for p in parameters}.items() if p not in self.seen)

    def enter(self, path: str, module: Module, args: Any) -> None:
        # What nobody has seen is what came out last, such as a view of it.
        self.knows(self.latest, (x for x in _tensors(args) if x.is_floating_point() and id(x) not in self.origin))
        parameters = list(module.parameters())
        box = Box(type(module).__name__, (), self.fresh(parameters), bool(parameters), self.sources(*args))
        box.alone = not box.sources and not any(x.is_floating_point() for x in _tensors(args))
        self.open[-1].inside.append(box)
        self.open.append(box)

    def leave(self, module: Module, args: Any, output: Any) -> None:
        box = self.open.pop()
        self.seen.update(id(p) for p in module._parameters.values())
        if len(self.open) > 1 and not module._modules:
            box.inside = []  # a layer is drawn whole
        self.comes_out(box, output)

    def function(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **options: Any) -> Any:
            if self.within_function:
                return function(*args, **options)
            self.within_function = True
            try:
                output = function(*args, **options)
            finally:
                self.within_function = False
            parameters = [x for x in _tensors(args) if isinstance(x, Parameter)]
            box = Box(name, (), self.fresh(parameters), bool(parameters), self.sources(*args))
            self.seen.update(map(id, parameters))
            self.open[-1].inside.append(box)
            self.comes_out(box, output)
            return output

        return recorded

    @contextmanager
    def joins(self) -> Iterator[None]:
        """While this is open, x + y of tensors and their concatenation are functions."""
        add, cat = Tensor.__add__, _core.cat

        def recorded(x: Tensor, y: Any) -> Any:
            return self.function("+", add)(x, y) if isinstance(y, Tensor) and self.sources(x, y) else add(x, y)

        Tensor.__add__ = recorded  # type: ignore[method-assign]
        _core.cat = self.function("cat", cat)
        try:
            yield
        finally:
            Tensor.__add__, _core.cat = add, cat  # type: ignore[method-assign]


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)


# ---- what of it is drawn ---------------------------------------------------------------------------------------------


def _shown(boxes: Sequence[Box]) -> list[Box]:
    """Containers, and blocks in which something repeats, give what they hold; blocks alike in a row are folded."""
    shown: list[Box] = []
    for box in boxes:
        box.inside = _shown(box.inside)
        if box.kind == "Identity" and box.sources:
            box.stand_in = box.sources[0]
        elif box.kind in CONTAINERS or any(b.times > 1 for b in box.inside):
            shown += box.inside
            box.stand_in = box.inside[-1] if box.inside else None
        elif shown and box.inside and box.alike(shown[-1]):
            shown[-1].times += 1
            box.stand_in = shown[-1]
        else:
            shown.append(box)
    return shown


def _number(boxes: Sequence[Box], lines: list[Line], numbers: dict[Box, int], block: Box | None = None) -> None:
    """A line for every box, and for every box of a block that repeats."""

    def drawn(box: Box) -> Box:
        while box.stand_in is not None:
            box = box.stand_in
        return box

    entry = [drawn(source) for source in block.sources[:1]] if block else []
    above = numbers[block] if block else 0
    for box in boxes:
        sources = map(drawn, box.sources)
        reads = (numbers[block] if block and s in entry else numbers.get(s) for s in sources)
        line = Line(len(lines) + 1, int(block is not None), box, above)
        line.sources = tuple(sorted({n for n in reads if n is not None}))
        if not (line.sources or box.alone or box.kind == "input"):
            line.sources = (above,)  # such as a view of it
        lines.append(line)
        numbers[box] = above = line.number
        if box.times > 1:
            _number(box.inside, lines, numbers, box)
        line.last = len(lines)


# ---- SVG -------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, STEP, LANE = 190, 26, 46, 14  # of a box, from one to the next, between lines at the left
BLUE, GREY = "#0072B2", "#8C8C8C"


def _svg(drawing: Drawing) -> str:
    lines = {line.number: line for line in drawing.lines}
    rows = {n: row for row, n in enumerate(n for n, line in lines.items() if line.last == n)}
    top = {
        n: STEP * (rows[n if line.last == n else n + 1] + 1.5) for n, line in lines.items()
    }  # of blocks, the first's
    bottom = {n: STEP * (rows[line.last] + 1.5) for n, line in lines.items()}

    def start(source: int, target: int) -> float:
        """Between two boxes: where what the target reads comes out of its source, or into the block of both."""
        return top[source] - STEP / 2 if source < target <= lines[source].last else bottom[source] + STEP / 2

    skips = [
        (start(s, n), top[n], s, n)
        for n, line in lines.items()
        for s in line.sources
        if s != line.above and (line.last == n or line.above not in line.sources)
    ]
    lanes = _lanes([(a, b) for a, b, _, _ in skips])
    x = 30 + LANE * (max(lanes, default=-1) + 2) + WIDTH / 2
    left, right = x - WIDTH / 2, x + WIDTH / 2
    said = {n: _said(line.box) for n, line in lines.items()}
    beside = right + 30 + 7.5 * max(map(len, said.values()))  # of what frames say
    shapes: list[str] = []

    for n, line in lines.items():
        box, y = line.box, top[n]
        if line.above in line.sources and line.box.times == 1:
            shapes.append(_arrow(f"M{x:g} {y - STEP + HEIGHT / 2:g}V{y - HEIGHT / 2:g}"))
        if box.times > 1:
            own = [lane for lane, (_, _, s, t) in zip(lanes, skips, strict=True) if n <= s and t <= line.last]
            edge = left - LANE * (max(own, default=-1) + 1.5)
            shapes.append(
                f'<rect x="{edge:g}" y="{y - 0.62 * STEP:g}" width="{right + 10 - edge:g}" '
                f'height="{bottom[n] - y + 1.12 * STEP:g}" fill="none" stroke="{GREY}" stroke-dasharray="5 4"/>'
            )
            words = f"{box.kind} x {box.times}"
            shapes.append(_words(beside, (y + bottom[n]) / 2 + 4, words, "start", GREY))
            continue
        fill, ink = (BLUE, "white") if box.learns else ("white", BLUE)
        if box.kind == "+":
            shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="{HEIGHT / 2}" fill="{fill}" stroke="{BLUE}"/>')
        elif box.kind != "input":
            shapes.append(
                f'<rect x="{left:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" '
                f'stroke="{BLUE}"/>'
            )
        shapes.append(_words(x, y + 4, box.kind, "middle", ink))
        shapes.append(_words(right + 18, y + 4, said[n], "start", "black"))
    for lane, (a, b, _, target) in zip(lanes, skips, strict=True):
        away = left - LANE * (lane + 1)
        end = x - HEIGHT / 2 if lines[target].box.kind == "+" else left
        shapes.append(_arrow(f"M{x:g} {a - STEP / 2 + HEIGHT / 2:g}V{a:g}H{away:g}V{b:g}H{end:g}"))

    frames = [len(f"{line.box.kind} x {line.box.times}") for line in lines.values() if line.box.times > 1]
    size = f"{beside + 8 * max(frames, default=0):g} {STEP * (len(rows) + 1.5):g}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8"/></marker></defs><rect width="100%" height="100%" fill="white"/>',
        _words(30, 24, f"{drawing.title}: {drawing.parameters:,} parameters", "start", "black"),
        *shapes,
        "</svg>",
    ])  # fmt: skip


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For each span the first lane that no shorter one takes there."""
    lanes = [-1] * len(spans)
    for k in sorted(range(len(spans)), key=lambda k: spans[k][1] - spans[k][0]):
        a, b = spans[k]
        taken = {lanes[j] for j, (c, d) in enumerate(spans) if lanes[j] >= 0 and a <= d and c <= b}
        lanes[k] = next(lane for lane in range(len(spans)) if lane not in taken)
    return lanes


def _said(box: Box) -> str:
    return by_shape(*box.shape) + (f" ({box.parameters:,})" if box.parameters else "")


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="black" stroke-width="1.2" marker-end="url(#tip)"/>'


def _words(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
