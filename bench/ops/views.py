"""views: no bytes move, so what is measured is the call."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    x = [normal(64, 128)]
    return [
        Case("reshape", lambda lib, x: x.reshape(32, 256), x, Work(bytes=0)),
        Case("transpose", lambda lib, x: x.transpose(0, 1), x, Work(bytes=0)),
        Case("slice", lambda lib, x: x[:, 3:70], x, Work(bytes=0)),
        Case("expand", lambda lib, x: x[None].expand(8, 64, 128), x, Work(bytes=0)),
    ]
