import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.precision import precision, require_dtype


@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_tf32_is_on_for_tf32_only_and_restored(dtype, allowed):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with precision(dtype):
        assert (torch.get_float32_matmul_precision() == "high") == allowed
        assert torch.backends.cudnn.allow_tf32 == allowed
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_a_cpu_has_no_tf32():
    with pytest.raises(UnavailableError, match="cpu has no tf32 .* use --dtype fp32"):
        require_dtype(torch.device("cpu"), "tf32")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_cpu_multiplies_in_the_others(dtype):
    require_dtype(torch.device("cpu"), dtype)
