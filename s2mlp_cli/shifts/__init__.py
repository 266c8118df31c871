"""The spatial shift: its definition, its implementations, and their registry."""
