"""copy: the same values in another dtype, as NumPy converts them; float to bool asks x != 0, 16 bits by float32."""

import numpy as np


def convert(x, dtype):
    with np.errstate(all="ignore"):
        if dtype == "bool":
            return x != 0
        if dtype == "float16":
            return np.asarray(x, np.float32).astype(dtype)
        if dtype == "bfloat16":
            bits = np.asarray(x, np.float32).view(np.uint32)
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
            return np.where(np.isnan(x), np.float32(np.nan), rounded.astype(np.uint32).view(np.float32))
        return x.astype(np.int64).astype(dtype) if dtype == "uint8" else x.astype(dtype)
