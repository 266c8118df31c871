"""From logits to what is kept of an image, and in which precision."""

import numpy as np
import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.validating.evaluate import Evaluator, score
from s2mlp_cli.preprocessing import Preprocessing

CPU = torch.device("cpu")


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
