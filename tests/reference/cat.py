"""cat, stack, hstack, vstack: NumPy's."""

from numpy import concatenate as cat
from numpy import hstack, stack, vstack

__all__ = ["cat", "hstack", "stack", "vstack"]
