"""What the papers print, and how a recomputed figure is held against it. No torch here."""
