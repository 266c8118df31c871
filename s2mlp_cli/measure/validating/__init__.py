"""Accuracy of a checkpoint, image by image."""
