"""Checkpoints from any source: read without running their code, recognised, compared, converted."""
