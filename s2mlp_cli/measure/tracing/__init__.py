"""Traces of a profiled run: written, and read back."""
