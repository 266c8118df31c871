"""A checkpoint of a timm model, validated as timm evaluates it: its own mean, crop and filter."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_data_config
from torch import nn

from s2mlp_cli.records.predictions import load_predictions
from tests.commands.test_validate import in_process
from tests.digits import save_zip

# timm's dataset leaves its files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MODEL, CLASSES = "test_vit", 6
GIVEN = ("--model", f"timm:{MODEL}", "--set", f"classes={CLASSES}", "--device", "cpu",
         "--workers", "0", "--transform", "timm")  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = timm.create_model(MODEL, num_classes=CLASSES).eval()
    nn.init.normal_(built.head.weight)  # timm starts with zeros: every image would look the same
    return built


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A checkpoint and photographs of coloured noise in several sizes, two of each class."""
    root = tmp_path_factory.mktemp("timm")
    save_zip({"state_dict": model.state_dict()}, root / "weights.pth")
    random = np.random.default_rng(3)
    sizes = [(240, 200), (320, 240), (240, 320), (256, 256), (500, 200), (230, 231)]
    for number in range(2 * CLASSES):
        (root / "val" / str(number // 2)).mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(sizes[number % 6], Image.Resampling.BICUBIC)
        picture.save(root / "val" / str(number // 2) / f"{number:02d}.jpeg", quality=90)
    return root


def probabilities(model, folder, **config):
    """Return the highest probability of each image, as timm's own loop computes it."""
    config = {**resolve_data_config(model.pretrained_cfg), **config}
    names = ("input_size", "interpolation", "mean", "std", "crop_pct")
    loader = create_loader(
        create_dataset("", str(folder / "val")), batch_size=5, num_workers=0,
        device=torch.device("cpu"), **{name: config[name] for name in names},
    )  # fmt: skip
    with torch.inference_mode():
        return torch.cat([model(images).softmax(1).amax(1) for images, _ in loader]).tolist()


@pytest.mark.parametrize(
    ("given", "config"),
    [((), {}), (("--crop-pct", "0.7"), {"crop_pct": 0.7}),
     (("--interpolation", "bilinear"), {"interpolation": "bilinear"})],
)  # fmt: skip
def test_every_image_gets_what_timms_evaluation_gives(model, folder, tmp_path, given, config):
    result = in_process(
        "--ckpt", folder / "weights.pth", "--data", folder / "val", *GIVEN, *given,
        "--predictions", tmp_path / "p.csv",
    )  # fmt: skip
    assert (result.preprocessing.mean, result.preprocessing.std) == ((0.5,) * 3, (0.5,) * 3)
    assert result.preprocessing.crop_pct == config.get("crop_pct", 0.95)
    assert result.preprocessing.input_size == (160, 160)
    said = [row.confidence for row in load_predictions(tmp_path / "p.csv")]
    expected = probabilities(model, folder, **config)
    assert said == pytest.approx(expected, rel=2e-4)
    assert len({round(value, 4) for value in expected}) > 6


def test_another_normalisation_would_be_seen(model, folder):
    """The comparison above can fail: ImageNet's mean and deviation give other probabilities."""
    own = probabilities(model, folder)
    others = probabilities(model, folder, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert others != pytest.approx(own, rel=2e-4)
