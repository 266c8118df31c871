"""What the folders of an archive say, from the paths of its images alone."""

from __future__ import annotations

import pytest

from s2mlp_cli.data.layout import layout_of

LAYOUTS = {
    "class folders": ("n1/1 n10/2 n1/3", "n1/1 n10/2 n1/3", "n1 n10 n1", ()),
    "flat, with one folder more": (
        "set/1 set/2 set/thumbs/1", "set/1 set/2", None,
        ("1 image in a folder of the flat set left out, the first is set/thumbs/1",),
    ),
    "one folder is no class": ("a/1 a/2", "a/1 a/2", None, ()),
    "validation among splits": (
        "train/a/1 validation/a/2 validation/b/3", "validation/a/2 validation/b/3", "a b",
        ("1 image outside the folder 'validation' left out, the first is train/a/1",),
    ),
    "val goes before validation": (
        "validation/1 val/2 val/3", "val/2 val/3", None,
        ("1 image outside the folder 'val' left out, the first is validation/1",),
    ),
    "both remarks": (
        "train/1 val/a/2 val/b/3 val/4", "val/a/2 val/b/3", "a b",
        (
            "1 image outside the folder 'val' left out, the first is train/1",
            "1 image beside the class folders left out, the first is val/4",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("names", "taken", "classes", "stated"), LAYOUTS.values(), ids=LAYOUTS)
def test_layout(names: str, taken: str, classes: str | None, stated: tuple[str, ...]) -> None:
    found = layout_of(names.split())
    assert found.names == tuple(taken.split())
    assert found.classes == (tuple(classes.split()) if classes else None)
    assert found.stated == stated
