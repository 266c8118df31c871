"""Saved records against each other: what each row is, how rows are matched, what may be said."""

from s2mlp_cli.compare.predictions import compare_prediction_files
from s2mlp_cli.compare.records import compare_records

__all__ = ["compare_prediction_files", "compare_records"]
