"""`littlecore book`: the sections of The Little Book of Deep Learning as programs, and a page of their results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_FOLDER = "runs/book"


def add_arguments(commands: Any) -> None:
    parser = commands.add_parser("book", help="run the sections of The Little Book of Deep Learning")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the sections and their programs")
    listing.set_defaults(run=run_list)
    running = actions.add_parser("run", help="run a section, a chapter or all")
    running.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="a section such as 1.2, a chapter such as 3, a program by its name, or all",
    )
    running.add_argument("--full", action="store_true", help="the long form of the programs, minutes to hours each")
    running.add_argument("--seed", type=_seed, metavar="N", default=0, help="another seed; the gates are set for 0")
    running.add_argument("--data", metavar="FOLDER", help="data of yours for 5.2, 5.3, 6.3, 6.4 or 8.1, as they say")
    running.set_defaults(run=run_programs)
    page = actions.add_parser("page", help="one HTML page of all results so far")
    page.set_defaults(run=run_page)
    for action in (running, page):
        action.add_argument("--out", default=_FOLDER, metavar="FOLDER", help=f"where results are ({_FOLDER})")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def run_list(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from littlecore.book.sections import SECTIONS

    table = Table(box=None, pad_edge=False)
    for heading in ("section", "title", "programs"):
        table.add_column(heading)
    for section in SECTIONS:
        table.add_row(section.number, section.title, ", ".join(section.programs) or "-")
    Console(highlight=False, markup=False, width=100).print(table)  # the longest row, on a narrow screen, too
    return 0


def run_programs(options: argparse.Namespace) -> int:
    """0 if every number is within its gate, 1 if not, 2 if a program lacks a package that it needs."""
    from rich.console import Console

    from littlecore.book.demo import run_program, takes_data
    from littlecore.book.sections import chosen

    console = Console(highlight=False, markup=False, soft_wrap=True)
    found = {name: section for what in options.what for name, section in chosen(what).items()}
    data = None if options.data is None else Path(options.data)
    if data is not None:  # of a whole section those that take it
        found = {name: section for name, section in found.items() if takes_data(name)} or found
    missed, lacking = [], []
    for name, section in found.items():
        folder = Path(options.out, name)
        console.print(f"{section.number} {section.title}: {name} -> {folder}")
        try:
            demo = run_program(name, folder, full=options.full, seed=options.seed, console=console, data=data)
        except ImportError as error:  # the others may do without
            if len(found) == 1:
                raise
            lacking.append(f"{name}: {error}")
            continue
        missed += [f"{name}: {metric}" for metric in demo.missed]
    for line in missed:
        console.print(f"missed its gate: {line}")
    for line in lacking:
        console.print(f"did not run: {line}")
    return 2 if lacking else 1 if missed else 0


def run_page(options: argparse.Namespace) -> int:
    from littlecore.book.page import write_page

    print(write_page(Path(options.out)))
    return 0
