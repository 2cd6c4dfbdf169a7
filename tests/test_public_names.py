"""Every name that littlecore shows is PyTorch's, or one of the few listed here."""

import importlib

import pytest

import littlecore as lc

torch = pytest.importorskip("torch")

# What PyTorch does not have, or has elsewhere.
OURS = {
    "": "bool_ book capture cli data interop kernels memory models show_config train",
    "nn": "Drawing LoRALinear QuantizedLinear Summary add_lora draw merge_lora quantize summary",
    "nn.functional": "rotary_embedding",
    "optim": "",
    "cuda": "launches reset_peak why_not",
}


@pytest.mark.parametrize("name", OURS)
def test_names_are_pytorchs(name: str):
    ours, theirs = (importlib.import_module(f"{library}.{name}".rstrip(".")) for library in ("littlecore", "torch"))
    shown = {n for n in dir(ours) if not n.startswith("__")}
    assert {n for n in shown if not hasattr(theirs, n)} == set(OURS[name].split())
    assert all(hasattr(ours, n) for n in shown)


def test_nothing_more_can_be_reached():
    """Submodules, and what `import` leaves behind, apart."""
    reached = {n for n, x in vars(lc).items() if not n.startswith("_") and type(x) is not type(lc)}
    assert reached - set(dir(lc)) == {"Any", "TYPE_CHECKING", "annotations"}


def test_the_kernels_are_the_abis():
    assert dir(lc.kernels) == lc.kernels.__all__ and not any(hasattr(lc.kernels, n) for n in ("_use_for_torch", "sgd"))
