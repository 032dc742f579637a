"""Parlance: speech recognition and synthesis on one set of attention blocks."""

__version__ = "0.1.0"
