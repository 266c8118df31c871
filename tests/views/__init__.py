"""What all tests of views need: the text of a view on a terminal."""

from s2mlp_cli.views.terminal import to_text


def shown(view, width=100):
    """Return what a plain terminal of ``width`` columns shows."""
    return to_text([view], width)
