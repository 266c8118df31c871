"""What all tests of views need: the terminal and CSV texts of a view."""

from s2mlp_cli.views.sheet import to_csv
from s2mlp_cli.views.terminal import screen, to_text


def shown(view, width=100):
    """Return what a plain terminal of ``width`` columns shows."""
    return to_text(screen(view), width)


def csv(view):
    return to_csv(view.sheet)
