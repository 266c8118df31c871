"""Image sets as people have them, read in place: nothing is unpacked or copied."""
