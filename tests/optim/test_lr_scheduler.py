"""Every schedule beside PyTorch's, step by step."""

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim
from littlecore.optim import lr_scheduler as ours

STEPS = 40
SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + t)),
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [5, 11, 11, 30], 0.5),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.93),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 25, 1e-3),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.9, 12),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, 6),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.7, total_steps=STEPS),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.7, 0.3], epochs=4, steps_per_epoch=11, anneal_strategy="linear", three_phase=True
    ),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20), s.ConstantLR(o, 0.5, 3)], [5, 25]
    ),
}


def optimizer(nn_module, optim_module, zeros, kind="SGD"):
    groups = [{"params": [nn_module.Parameter(zeros(2))]}, {"params": [nn_module.Parameter(zeros(2))], "lr": 0.02}]
    return optim_module.SGD(groups, lr=0.1, momentum=0.5) if kind == "SGD" else optim_module.Adam(groups, lr=0.1)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_schedules_equal_pytorchs(name, kind):
    torch = pytest.importorskip("torch")
    one, two = optimizer(nn, optim, lc.zeros, kind), optimizer(torch.nn, torch.optim, torch.zeros, kind)
    a, b = SCHEDULES[name](ours, one), SCHEDULES[name](torch.optim.lr_scheduler, two)
    for step in range(STEPS):
        np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-9, atol=1e-15, err_msg=f"step {step}")
        for mine, theirs in zip(one.param_groups, two.param_groups, strict=True):
            for key in ("momentum", "betas"):
                if key in mine:
                    np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-9)
        two.step()
        a.step()
        b.step()


PLATEAU = {"mode": "max", "patience": 2, "threshold_mode": "abs", "cooldown": 3, "min_lr": 1e-3}


@pytest.mark.parametrize("options", [{"patience": 3}, PLATEAU], ids=str)
def test_plateau_equals_pytorchs(options):
    torch = pytest.importorskip("torch")
    one, two = optimizer(nn, optim, lc.zeros), optimizer(torch.nn, torch.optim, torch.zeros)
    a, b = ours.ReduceLROnPlateau(one, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(two, **options)
    random = np.random.default_rng(0)
    rates = set()
    for step in range(80):
        metric = float(np.exp(-step / 10) + 0.01 * random.standard_normal())
        a.step(metric)
        b.step(metric)
        rates.add(tuple(a.get_last_lr()))
        assert a.get_last_lr() == [g["lr"] for g in two.param_groups]
    assert len(rates) > 2


def test_warmup_then_another_schedule():
    o = optimizer(nn, optim, lc.zeros)
    s = ours.WarmupLR(o, 4, after=ours.CosineAnnealingLR(o, 10))
    seen = []
    for _ in range(15):
        seen.append(s.get_last_lr()[0])
        s.step()
    np.testing.assert_allclose(seen[:5], [0.025, 0.05, 0.075, 0.1, 0.1])
    np.testing.assert_allclose(seen[4:], [0.05 * (1 + np.cos(np.pi * t / 10)) for t in range(11)], atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_resuming_continues(name):
    def rates(resume_at):
        o = optimizer(nn, optim, lc.zeros)
        s, seen = SCHEDULES[name](ours, o), []
        for step in range(20):
            if step == resume_at:
                kept, groups = s.state_dict(), o.state_dict()
                o = optimizer(nn, optim, lc.zeros)
                s = SCHEDULES[name](ours, o)
                o.load_state_dict(groups)
                s.load_state_dict(kept)
            seen.append((*s.get_last_lr(), o.param_groups[0]["momentum"]))
            s.step()
        return seen

    assert rates(None) == rates(9)


def test_what_is_refused():
    o = optimizer(nn, optim, lc.zeros)
    with pytest.raises(TypeError, match="not an Optimizer"):
        ours.StepLR(nn.Linear(1, 1), 3)
    with pytest.raises(ValueError, match="number of schedulers"):
        ours.SequentialLR(o, [ours.StepLR(o, 3)], [1])
    with pytest.raises(ValueError, match="total_steps"):
        ours.OneCycleLR(o, 0.1)
    s = ours.OneCycleLR(o, 0.1, total_steps=3)
    for _ in range(3):
        s.step()
    with pytest.raises(ValueError, match="total steps is 3"):
        s.step()
