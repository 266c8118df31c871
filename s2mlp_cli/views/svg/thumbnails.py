"""Small images side by side: what a model got wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2mlp_cli.views.svg import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4


def draw(images: Sequence[tuple[str, str]], title: str) -> canvas.Drawing:
    """Draw (JPEG in base64, caption) side by side; one that is damaged is its caption alone."""
    rows = -(-len(images) // _COLUMNS)

    def plot(figure: Figure) -> None:
        import numpy as np
        from PIL import Image

        cells = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, (content, caption) in zip(cells, images, strict=False):
            try:
                with Image.open(io.BytesIO(base64.b64decode(content))) as image:
                    axes.imshow(np.asarray(image.convert("RGB")))
            except (OSError, ValueError):
                pass
            lines = [canvas.short(line, 20) for line in caption.split("\n")]
            axes.set_title("\n".join(lines), fontsize=7)
        for axes in cells:
            axes.axis("off")

    return canvas.Drawing(plot, 1.55 * rows, title)
