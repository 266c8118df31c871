"""Checkpoints of any origin: read without running their code, recognised, compared, converted."""
