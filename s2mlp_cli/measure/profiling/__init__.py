"""Speed and memory, with uncertainty."""
