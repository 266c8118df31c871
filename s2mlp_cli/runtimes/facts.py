"""What an exported classifier says of itself, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Facts of a file; None where it leaves a size open.

    Attributes:
        batch_size: images at a time.
        image: (channels, height, width).
        classes: width of the logits.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``, by what its products are stored in.
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
