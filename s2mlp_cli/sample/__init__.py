"""A small checkpoint and the images it never saw: something real to validate, offline.

``make.py`` beside this file made both from scikit-learn's digits.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "digits.safetensors"
IMAGES = Path(__file__).parent / "digits.tar"

# What users write instead of a path.
NAME = "sample"
