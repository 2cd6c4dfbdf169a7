"""repeat and its kin: NumPy's, under the names they have here."""

from numpy import flip, repeat, roll, tile

repeat_interleave = repeat

__all__ = ["flip", "repeat_interleave", "roll", "tile"]
