"""quantized_linear: decoding with weights of 8 and 4 bits; PyTorch multiplies with what they stand for in float32."""

from bench.harness import Case, Work, normal

import littlecore as lc


def case(rows: int, outputs: int, inputs: int, bits: int) -> Case:
    def setup(lib, x, w):
        codes, scales = lc._core.quantize_weight(lc.from_numpy(w.numpy()), bits)
        if lib is lc:
            return [x, codes, scales]
        return [x, lib.from_numpy(lc._core.dequantize_weight(codes, scales, inputs).numpy())]

    def call(lib, x, *weight):
        return lc._core.quantized_linear(x, *weight) if lib is lc else lib.nn.functional.linear(x, *weight)

    work = Work(2 * rows * inputs * outputs, outputs * inputs * bits // 8 + 4 * rows * (inputs + outputs))
    return Case(
        f"{rows}x{outputs}x{inputs}_{bits}bit", call, [normal(rows, inputs), normal(outputs, inputs)], work, setup=setup
    )


def cases() -> list[Case]:
    shapes = [(1, 3072, 768), (1, 768, 3072), (1, 50257, 768), (4, 3072, 768)]
    return [case(*shape, bits) for shape in shapes for bits in (8, 4)]
