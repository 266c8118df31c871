"""With timm's transform the evaluator gives what timm's own loop gives, image by image."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import DecodedImages, batches
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.validating.evaluate import Evaluator, score
from s2mlp_cli.preprocessing import Preprocessing

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number, size in enumerate([(320, 240), (240, 320), (256, 256), (500, 200), (230, 231)]):
        (root / f"n{number % 3:08d}").mkdir(exist_ok=True)
        coarse = generator.integers(0, 256, (12, 12, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(size, Image.BICUBIC)
        picture.save(root / f"n{number % 3:08d}" / f"{number}.jpeg", quality=90)
    return root


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm's open files
@pytest.mark.parametrize("name", ["mixer_b16_224", "resnet50"])
def test_logits_are_those_of_timms_own_loop(name, photos):
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    config = timm.data.resolve_data_config({}, model=model)
    loader = create_loader(
        create_dataset("", str(photos)), config["input_size"], batch_size=3, is_training=False,
        use_prefetcher=True, interpolation=config["interpolation"], mean=config["mean"],
        std=config["std"], crop_pct=config["crop_pct"], num_workers=0, device=CPU,
    )  # fmt: skip
    with torch.inference_mode():
        expected = torch.cat([model(images) for images, _ in loader])
    assert expected.argmax(1).unique().numel() >= 1

    ours = Preprocessing(
        transform="timm", input_size=config["input_size"][1:], crop_pct=config["crop_pct"],
        interpolation=config["interpolation"], mean=config["mean"], std=config["std"],
    )  # fmt: skip
    logits = []
    model.register_forward_hook(lambda _module, _inputs, output: logits.append(output))
    images = open_images(photos)
    decoded = DecodedImages(images.source, np.arange(len(images)), ours)
    evaluator = Evaluator(model, ours, CPU)
    top = [
        evaluator(batch.images, torch.zeros(len(batch.rows), dtype=torch.int64)).top
        for batch in batches(decoded, [range(3), range(3, 5)], 0, pin_memory=False)
    ]
    torch.testing.assert_close(torch.cat(logits), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.cat(top).long(), expected.topk(5).indices)


def test_nan_is_in_no_top_five_and_classes_may_be_few():
    logits = torch.tensor([[3.0, 1.0, 2.0], [torch.nan, 1.0, 2.0], [0.0, torch.inf, 0.0]])
    scores = score(logits, torch.tensor([2, 1, 1]))
    assert scores.top.tolist() == [[0, 2, 1, -1, -1], [-1] * 5, [-1] * 5]
    assert scores.loss[0].item() == pytest.approx(np.log(np.exp([3, 1, 2]).sum()) - 2, rel=1e-6)
    assert scores.confidence[0].item() == pytest.approx(np.exp(3) / np.exp([3, 1, 2]).sum())


def test_tf32_is_refused_where_there_is_none():
    with pytest.raises(UnavailableError, match="cpu does not support tf32"):
        Evaluator(torch.nn.Identity(), Preprocessing(), CPU, "tf32")


def test_tf32_stays_off_while_fp32_runs_and_settings_come_back():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, images):
            seen.append(torch.backends.cudnn.allow_tf32)
            return images.mean((2, 3))

    before = torch.backends.cudnn.allow_tf32
    pixels = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    Evaluator(Spy(), Preprocessing(), CPU)(pixels, torch.tensor([0]))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_next_batch_leaves_the_scores_of_the_last_alone():
    """Both lie in the same memory while they are normalised, and a network may return its input."""
    evaluator = Evaluator(torch.nn.Flatten(), Preprocessing(), CPU)
    blue, red = torch.zeros(2, 1, 1, 1, 3, dtype=torch.uint8)
    blue[..., 2], red[..., 0] = 255, 255
    first = evaluator(blue, torch.tensor([2]))
    loss = first.loss.clone()
    second = evaluator(red, torch.tensor([2]))
    assert (first.top[0, 0].item(), second.top[0, 0].item()) == (2, 0)
    assert torch.equal(first.loss, loss)
    assert second.loss.item() > loss.item()
