"""Where there is no GPU, asking for one says why there is none."""

from __future__ import annotations

import pytest

import littlecore as lc

pytestmark = pytest.mark.skipif(lc.cuda.is_available(), reason="there is a GPU")


def test_the_reason_is_given():
    assert lc.cuda.why_not().startswith("no GPU: ")
    assert lc.cuda.device_count() == 0
    assert "no GPU" in lc.show_config()


@pytest.mark.parametrize(
    "use", [lambda: lc.ones(3, device="cuda"), lambda: lc.ones(3).cuda(), lambda: lc.cuda.Stream()]
)
def test_asking_for_one_is_an_error(use):
    with pytest.raises(RuntimeError, match="no GPU: "):
        use()


def test_a_device_can_be_named():
    assert lc.device("cuda:1").index == 1
