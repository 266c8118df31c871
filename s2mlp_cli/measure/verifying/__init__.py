"""Checks of the implementations of the shift against the reference."""
