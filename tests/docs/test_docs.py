"""The documentation: its programs run, its links lead somewhere, every public name says what it is."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import littlecore
from littlecore import kernels

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PROGRAMS = [(p, *found) for p in PAGES for found in re.findall(r"^```(\w+)\n(.*?)^```", p.read_text(), re.M | re.S)]
NEEDS = {"pytorch": "torch", "jax": "jax"}


@pytest.mark.parametrize("page, language, source", PROGRAMS, ids=lambda x: getattr(x, "stem", ""))
def test_programs_run(page: Path, language: str, source: str, tmp_path: Path):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    program = tmp_path / f"program.{language}"
    program.write_text(source)
    command = [sys.executable, str(program)]
    if language in ("c", "cpp"):
        compiler = {"c": ["cc", "-std=c99"], "cpp": ["c++", "-std=c++20"]}[language]
        if shutil.which(compiler[0]) is None:
            pytest.skip(f"needs {compiler[0]}")
        ask = [sys.executable, "-m", "littlecore", "--cflags", "--ldflags"]
        flags = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
        command = [str(tmp_path / "program")]
        warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
        subprocess.run([*compiler, *warnings, str(program), "-o", *command, *flags], check=True)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"})
    assert done.returncode == 0, done.stderr


def test_every_embedding_has_its_program():
    assert {p.stem for p, *_ in PROGRAMS} == {"kernels", "pytorch", "jax", "c", "cpp"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_of_the_pages(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).is_file(), target


def test_links_of_what_is_generated(tmp_path: Path):
    pytest.importorskip("pdoc")
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs/render.py")
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    docs.build(tmp_path, ["littlecore.kernels", "littlecore.memory"])
    assert docs.broken_links(tmp_path) == []
    assert 'id="linear_gelu_backward"' in (tmp_path / "littlecore/kernels.html").read_text()
    page = tmp_path / "index.html"
    page.write_text(page.read_text() + '<a href="c.html#nowhere"></a><a href="gone.html"></a>')
    assert docs.broken_links(tmp_path) == ["index.html: c.html#nowhere", "index.html: gone.html"]


# ---- docstrings ------------------------------------------------------------------------------------


def modules() -> Iterator[str]:
    yield "littlecore"
    for found in pkgutil.walk_packages(littlecore.__path__, "littlecore."):
        parts = found.name.split(".")
        if not any(p.startswith("_") for p in parts) and parts[1] not in ("book", "cli"):
            yield found.name


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Functions and classes that the module defines, or names in __all__."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        x = getattr(module, name)
        here = hasattr(module, "__all__") or getattr(x, "__module__", None) == module.__name__
        if here and (inspect.isroutine(x) or inspect.isclass(x)):
            yield name, x


@pytest.mark.parametrize("name", [*modules()])
def test_every_public_name_says_what_it_is(name: str):
    if name.startswith("littlecore.interop."):
        pytest.importorskip(name.rsplit(".", 1)[1].removeprefix("build_"))
    module = importlib.import_module(name)
    assert module.__doc__ and doctest.testmod(module).failed == 0
    silent = [
        n for n, x in public(module) if not (x.__dict__.get("__doc__") if inspect.isclass(x) else inspect.getdoc(x))
    ]
    assert not silent, f"{name}: {silent} have no docstring"


@pytest.mark.parametrize("name", kernels.__all__)
def test_a_kernel_tells_dtypes_and_shapes_of_all_it_takes(name: str):
    text = inspect.getdoc(getattr(kernels, name)) or ""
    described = dict(re.findall(r"^ +(\w+): (\w+~?1?\[.*?\])", text, re.M))
    formula = text.split("\n", 1)[0]
    signature = inspect.signature(getattr(kernels, name))
    arrays = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert formula and arrays and set(arrays) <= set(described), (arrays, described)
