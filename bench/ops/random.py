"""random: numbers written; the generator is the work."""

from bench.harness import Case, Work


def cases() -> list[Case]:
    n = 1 << 22
    return [
        Case(name, lambda lib, name=name: getattr(lib, name)(n), [], forward=Work(bytes=4 * n), random=True)
        for name in ("rand", "randn")
    ]
