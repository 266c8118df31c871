"""Pictures as SVG with their text kept as text. matplotlib is imported when one is drawn."""
