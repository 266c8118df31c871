"""What the papers print, and the arithmetic that compares it. No torch here."""

from s2mlp_cli.papers.published import Paper, PublishedRow, papers, published_for, published_rows

__all__ = ["Paper", "PublishedRow", "papers", "published_for", "published_rows"]
