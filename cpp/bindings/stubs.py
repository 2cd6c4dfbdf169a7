"""Writes the type stub of the built extension: python stubs.py <folder that holds littlecore/> <output folder>."""

import re
import sys
from pathlib import Path

import pybind11_stubgen


def main(package_root: str, output: str) -> None:
    sys.path.insert(0, package_root)
    import littlecore

    littlecore.Tensor.__module__ = "littlecore._core"  # where the stub must define it; users see littlecore.Tensor
    pybind11_stubgen.main(
        ["littlecore._core", "--output-dir", output, "--exit-code", "--ignore-unresolved-names", "np.*|RemovableHandle"]
    )

    # The generator takes our dtype for NumPy's, knows no optional tensors, and inside Tensor the methods float, int and
    # bool and the attributes dtype and device hide the types of those names.
    stub = Path(output, "littlecore", "_core.pyi")
    text = stub.read_text()
    text = text.replace("numpy.dtype[typing.Any]", "dtype").replace(": Tensor = None", ": Tensor | None = None")
    text = re.sub(r"(grad_(?:tensors|outputs): collections.abc.Sequence)\[Tensor\]", r"\1[Tensor | None]", text)
    imports = "import builtins\nimport typing\nimport numpy as np\nfrom littlecore.tensor import RemovableHandle"
    text = text.replace("\nimport typing\n", f"\n{imports}\n", 1)
    before, rest = text.split("class Tensor:\n", 1)
    end = re.search(r"^\S", rest, re.MULTILINE)
    body, after = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    body = re.sub(r"(: |-> |\[|\| )(int|float|bool)\b(?!\()", r"\1builtins.\2", body)
    body = re.sub(r"(: |-> |\[|\| )(dtype|device)\b", r"\1_\2", body)
    body = body.replace("def grad(self, arg0: Tensor)", "def grad(self, arg0: Tensor | None)")
    body = body.replace(
        "    def __array__",
        "    def __buffer__(self, flags: builtins.int, /) -> memoryview:\n        ...\n    def __array__",
        1,
    )
    text = f"{before}_dtype = dtype\n_device = device\nclass Tensor:\n{body}{after}"
    stub.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
