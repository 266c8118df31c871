"""Exported files: writing them from modules, reading their facts, and running them."""
