"""What an exported classifier says of itself, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.errors import ExportError, first_line

# Each is coarser than the one before.
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def coarsest(*precisions: str) -> str:
    """Return the coarsest; one that has no name here is coarser than all that have."""
    order = {name: place for place, name in enumerate(PRECISIONS)}
    return max(precisions, key=lambda name: order.get(name, len(order)))


@dataclass(frozen=True)
class Facts:
    """Facts of a file; None where it leaves a size open.

    Attributes:
        batch_size: images at a time.
        image: (channels, height, width).
        classes: width of the logits.
        precision: ``int8`` where products are of integers, else what most weights are stored in.
        nodes: how many nodes of each operator.
        metadata: what the exporter added: ours begins with ``s2mlp.``.
        quantised: names of the nodes whose products are of integers.
    """

    batch_size: int | None
    image: tuple[int | None, int | None, int | None]
    classes: int | None
    precision: str
    nodes: dict[str, int]
    metadata: dict[str, str]
    quantised: tuple[str, ...] = ()


def refuse_channels_last(path: Path, image: Sequence[int | None]) -> None:
    """Name the order of an input whose last size is that of channels.

    Raises:
        ExportError: its images are of B,H,W,C.
    """
    first, height, last = image
    if last in (1, 3) and first not in (1, 3) and height != last:
        raise ExportError(
            f"{path} takes images of B,H,W,C with {last} channels; a classifier here takes "
            "B,C,H,W: export it again with the channels first"
        )


@contextmanager
def writing() -> Iterator[None]:
    """Turn a full disk, or a missing folder for temporary files, into a sentence."""
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"cannot write temporary files: {error.strerror or error}; free some space, or set "
            "TMPDIR"
        ) from error


@contextmanager
def reading(path: Path, broken: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what reading an exported file raises into a sentence.

    Raises:
        ExportError: it is missing or cannot be read, or its content raises one of ``broken``.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ExportError(f"there is no file {path}") from error
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror or error}") from error
    except broken as error:
        raise ExportError(
            f"{path} is not a whole {path.suffix} file ({first_line(error)}); export it again"
        ) from error
