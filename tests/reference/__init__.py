"""The readable truth of every op: NumPy, one file an op, no tiles, no tricks.

Each function computes in the type of its arguments: called on check.wide(x) it is the truth, called on float32 arrays
it is the naive formula whose error a backward kernel is measured against.
"""
