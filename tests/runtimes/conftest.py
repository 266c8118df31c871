"""One tiny classifier, exported once for all tests of this folder."""

import pytest
import torch
from torch import nn

from s2mlp_cli.runtimes.export import export_onnx, export_pt2

IMAGE = (3, 8, 8)


class Tiny(nn.Module):
    """Two products and a norm: enough for every precision."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3 * 8 * 8, 32)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 5)

    def forward(self, images):
        return self.head(nn.functional.gelu(self.norm(self.stem(images.flatten(1)))))


@pytest.fixture(scope="session")
def tiny():
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture(scope="session")
def tiny_onnx(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(tiny, IMAGE, path, metadata={"s2mlp.model": "tiny"})
    return path


@pytest.fixture(scope="session")
def tiny_pt2(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "tiny.pt2"
    export_pt2(tiny, IMAGE, path, metadata={"s2mlp.model": "tiny"})
    return path


@pytest.fixture
def images():
    return torch.randn(4, *IMAGE, generator=torch.Generator().manual_seed(1))
