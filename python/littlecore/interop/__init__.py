"""Littlecore's kernels inside other frameworks; a submodule for each, imported when asked for."""
