"""A training step that has settled asks the system for no memory and touches no fresh page."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy as np
import littlecore as lc
from littlecore import nn
from littlecore.nn import functional as F

random = np.random.default_rng(0)
normal = lambda *shape: lc.from_numpy(random.standard_normal(shape, np.float32))
classes = lambda high, *shape: lc.from_numpy(random.integers(0, high, shape))
name, captured = sys.argv[1], sys.argv[2] == "captured"
if name == "mlp":
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    batch = normal(64, 784), classes(10, 64)
elif name == "lenet":
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
    model = nn.Sequential(*features, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10))
    batch = normal(64, 1, 28, 28), classes(10, 64)
else:
    from littlecore import models
    from littlecore import models
    model = models.gpt(vocab_size=65, block_size=64, n_layer=2, n_head=2, n_embd=64, dropout=0.1)
    batch = classes(65, 4, 64), classes(65, 4, 64)
rule = lc.optim.AdamW(model.parameters(), lr=1e-3)

def step(x, target):
    rule.zero_grad()
    y = model(x)
    loss = F.cross_entropy(y.reshape(-1, y.shape[-1]), target.reshape(-1))
    loss.backward()
    rule.step()
    return loss

run = lc.capture(step) if captured else step
for _ in range(20):
    run(*batch)
faults, before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, lc.memory.stats()
for _ in range(20):
    run(*batch)
after = lc.memory.stats()
print(json.dumps({
    "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults,
    "system": after["system_allocations"] - before["system_allocations"],
    "live": after["live_bytes"] - before["live_bytes"],
}))
"""


@pytest.mark.parametrize("mode", ["eager", "captured"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "gpt"])
def test_a_steady_step_takes_no_memory(name: str, mode: str) -> None:
    out = subprocess.run([sys.executable, "-c", PROGRAM, name, mode], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    assert found["system"] == 0 and found["live"] == 0
    assert found["faults"] <= 10  # of 20 steps: the interpreter's own
