"""Every implementation of the shift held to its definition."""
