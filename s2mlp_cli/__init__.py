"""Count, time and validate spatial-shift MLPs (S2-MLP v1 and v2) for vision."""

__version__ = "0.1.0"
