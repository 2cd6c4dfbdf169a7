"""tril and triu: NumPy's."""

from numpy import tril, triu

__all__ = ["tril", "triu"]
