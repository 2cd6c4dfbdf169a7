"""matmul: squares, the layers and head of a GPT, decoding, the two products of backward, and small batches."""

from bench.harness import Case, Work, normal


def case(m: int, n: int, k: int, layout: str = "nn", batch: int = 1, name: str = "") -> Case:
    """layout: n or t for each operand, t being a transposed view of what is stored."""
    lead = (batch,) if batch > 1 else ()
    a = normal(*lead, *((m, k) if layout[0] == "n" else (k, m)))
    b = normal(*lead, *((k, n) if layout[1] == "n" else (n, k)))

    def call(lib, a, b):
        return lib.matmul(a if layout[0] == "n" else a.mT, b if layout[1] == "n" else b.mT)

    return Case(
        f"{name}{f'{batch}x' if batch > 1 else ''}{m}x{n}x{k}_{layout}",
        call,
        [a, b],
        forward=Work(
            2 * batch * m * n * k, 4 * batch * (m * k + k * n + m * n), stream="read" if 8 * m < min(n, k) else "copy"
        ),
    )


def cases() -> list[Case]:
    squares = [case(n, n, n) for n in (64, 128, 256, 512, 1024, 2048)]
    gpt = [
        case(m, n, k, name="gpt_") for m in (128, 1024) for k, n in ((768, 768), (768, 2304), (768, 3072), (3072, 768))
    ]
    head = [case(128, 50257, 768, "nt", name="head_")]
    decode = [
        case(m, n, k, "nt", name="decode_") for m in (1, 4, 16) for k, n in ((768, 3072), (3072, 768), (768, 50257))
    ]
    backward = [
        case(768, 3072, 1024, "tn", name="dw_"),
        case(1024, 768, 3072, "nt", name="dx_"),
        case(512, 784, 64, "tn", name="dw_"),
    ]
    small = [case(n, n, n, batch=64) for n in (16, 32, 64)]
    heads = [case(256, 256, 64, "nt", 48, "qk_"), case(256, 64, 256, "nn", 48, "av_")]
    return squares + gpt + head + decode + backward + small + heads
