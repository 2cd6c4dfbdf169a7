"""`littlecore info`: what this installation is and what it uses on this machine."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.util import find_spec
from typing import Any

_EXTRAS = {"plot": "matplotlib", "vision": "PIL"}


def add_arguments(commands: Any) -> None:
    parser = commands.add_parser("info", help="version, instruction set, cores, devices, build")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    import littlecore as lc

    table = Table(show_header=False, box=None, pad_edge=False)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    table.add_row("littlecore", str(lc.__version__))
    table.add_row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    table.add_row("cores", f"{usable} usable of {os.cpu_count()}")
    for line in lc.show_config().splitlines()[1:]:
        name, _, value = line.partition(": ")
        table.add_row(name, value)
    table.add_row("build", lc.show_config().splitlines()[0])
    for extra, module in _EXTRAS.items():
        found = "installed" if find_spec(module) else f'not installed: pip install "littlecore[{extra}]"'
        table.add_row(f"extra {extra}", found)
    Console(highlight=False, markup=False).print(table)
    return 0
