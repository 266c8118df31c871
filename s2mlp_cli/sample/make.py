"""Make the sample: train a tiny S2-MLPv2 on most of scikit-learn's digits, keep the rest as images.

``python -m s2mlp_cli.sample.make`` writes ``digits.tar`` and ``digits.safetensors`` beside this
file. scikit-learn is needed (it comes with the test extra).
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from s2mlp_cli import sample
from s2mlp_cli.checkpoints.loading import PREPROCESSING_KEY, SPEC_KEY
from s2mlp_cli.data.transform import make_transform
from s2mlp_cli.models import build_model
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.specs import Mixer, Norm, S2MLPSpec, Stage

HELD_OUT = 300
SPEC = S2MLPSpec(
    name="digits",
    title="S2-MLPv2 for 8x8 digits",
    input_size=(16, 16),
    classes=10,
    stages=(
        Stage(patch=2, dim=16, depth=1, expansion=3),
        Stage(patch=2, dim=32, depth=2, expansion=3),
    ),
    norm=Norm(kind="layer", place="pre"),
    patch_norm=False,
    head_norm=True,
    mixer=Mixer(
        splits=(("down", "up", "right", "left"), ("right", "left", "down", "up"), ()),
        activation="none",
        fusion="split-attention",
    ),
)
PREPROCESSING = Preprocessing(input_size=SPEC.input_size, crop_pct=1.0)

Pixels = NDArray[np.uint8]


def digits() -> tuple[Pixels, NDArray[np.int64]]:
    """Return the 1797 images, (N,8,8) uint8 of 0 to 255, and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int64)


def to_inputs(pixels: Pixels) -> Tensor:
    """Return (N,3,16,16) float32: exactly what a validation makes of these images."""
    transform = make_transform(PREPROCESSING)
    crops = [transform(Image.fromarray(image).convert("RGB")) for image in pixels]
    mean, std = (torch.tensor(v).mul(255) for v in (PREPROCESSING.mean, PREPROCESSING.std))
    return ((torch.from_numpy(np.stack(crops)).float() - mean) / std).permute(0, 3, 1, 2)


def train(
    inputs: Tensor, classes: Tensor, epochs: int, seed: int = 0, spec: S2MLPSpec = SPEC
) -> nn.Module:
    """Train the model of ``spec`` with AdamW on a one-cycle schedule; return it for evaluation."""
    torch.manual_seed(seed)
    model = build_model(spec).train()
    batch = 64
    steps = epochs * -(-len(inputs) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs)), batch):
            loss = F.cross_entropy(model(inputs[rows]), classes[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return model.eval()


def write_tar(path: Path, pixels: Pixels, classes: NDArray[np.int64]) -> None:
    """Write the images as ``<class>/<number>.png`` into a tar without any dates."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (image, label) in enumerate(zip(pixels, classes, strict=True)):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG", optimize=True)
            entry = tarfile.TarInfo(f"{label}/{number:04d}.png")
            entry.size = content.tell()
            content.seek(0)
            archive.addfile(entry, content)


def write_checkpoint(path: Path, model: nn.Module) -> None:
    """Write the weights as safetensors, with spec and preprocessing in the metadata."""
    from safetensors.torch import save_file

    metadata = {
        "format": "pt",
        SPEC_KEY: SPEC.model_dump_json(),
        PREPROCESSING_KEY: PREPROCESSING.model_dump_json(),
    }
    save_file(model.state_dict(), path, metadata)


def main() -> None:
    """Split by a fixed seed, train, and write both files."""
    torch.use_deterministic_algorithms(True)
    pixels, classes = digits()
    order = np.random.default_rng(0).permutation(len(pixels))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    model = train(to_inputs(pixels[rest]), torch.from_numpy(classes[rest]), epochs=60)
    write_tar(sample.IMAGES, pixels[held], classes[held])
    write_checkpoint(sample.CHECKPOINT, model)


if __name__ == "__main__":
    main()
