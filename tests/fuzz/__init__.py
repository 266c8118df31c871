"""Broken and hostile files of every kind that a command reads, made by hypothesis.

The law (`law.py`) is the same for all: a command succeeds, or it says in one sentence what is wrong
with which file; it never shows a traceback, never hangs, never runs anything out of a file, and
never takes much more memory than the file. How many files are tried stands in `budget.py`.
"""
