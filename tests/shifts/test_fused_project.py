import pytest
import torch
import triton
from mixers import (
    V2,
    make_mixer,
)

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts import fused_project
from s2mlp_cli.shifts.fused_project import _projected, mix_fused_project, shared_bytes
from s2mlp_cli.shifts.fused_triton import expanded


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(device):
    mixer = make_mixer(16, V2, device=device)
    x = torch.randn(3, 6, 5, 16, device=device)
    y, weights, start = (part.contiguous() for part in expanded(x, mixer))
    together = _projected(y, mixer.project, V2, weights, start)
    for image in range(3):
        one = slice(image, image + 1)
        alone = _projected(y[one], mixer.project, V2, weights[one], start[one])
        assert torch.equal(alone, together[one])


def test_a_tile_that_does_not_fit_the_card_is_not_offered(monkeypatch):
    y = torch.empty(1, 2, 2, 192, dtype=torch.bfloat16)
    tiles = [
        triton.Config({"BLOCK_M": m, "BLOCK_N": n}, num_warps=8, num_stages=3)
        for m, n in ((64, 256), (128, 64), (64, 64))
    ]
    # What the compiler takes for these on sm_90, in KiB.
    assert [shared_bytes(tile, 64, 3, 2) // 1024 for tile in tiles] == [146, 122, 74]
    for kib, kept in ((227, 3), (145, 2), (99, 1), (64, 0)):
        monkeypatch.setattr(fused_project, "shared_memory", lambda device, kib=kib: kib * 1024)
        assert len(fused_project._fitting(tiles, {"y": y}, BLOCK_K=64, SPLITS=3)) == kept


def test_the_tuner_measures_again_for_another_batch_precision_and_card():
    key = set(fused_project._projected_kernel.keys)
    assert {"rows", "PRECISION", "CARD", "SPLITS", "GELU"} <= key


def test_only_who_trains_is_told_that_it_has_no_gradient(device):
    x, mixer = torch.randn(1, 2, 2, 8, device=device), make_mixer(8, V2, device=device)
    mixed = mix_fused_project(x, mixer)
    with pytest.raises(UnavailableError, match=r"no gradient; train with --shift fused"):
        mixed.sum().backward()


def test_autocast_chooses_the_type(device):
    mixer = make_mixer(16, V2, device=device)
    x = torch.randn(1, 3, 4, 16, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        assert mix_fused_project(x, mixer).dtype == torch.bfloat16
