"""Saved records against each other: what each row is, how rows are matched, what may be said."""

from s2mlp_cli.compare.comparison import compare_records, compare_sides, read_side
from s2mlp_cli.compare.mcnemar import compare_prediction_files

__all__ = ["compare_prediction_files", "compare_records", "compare_sides", "read_side"]
