import pytest
import torch
import torch.nn.functional as F

from s2mlp_cli.measure.verifying.cases import DTYPES, V1, V2_FIRST, CheckInput
from s2mlp_cli.measure.verifying.checks import check_mixer
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.types import MixerKernel

CPU = torch.device("cpu")
V2 = CheckInput((2, 5, 4, 16), (V2_FIRST, V1, ()), "fp32", "contiguous")


def plain(x, mixer, shift=shift_oracle):
    """The mixer written out."""
    maps = mixer.activation(F.linear(x, mixer.expand.weight, mixer.expand.bias))
    parts = maps.chunk(len(mixer.splits), -1)
    maps = torch.stack([shift(p, d) for p, d in zip(parts, mixer.splits, strict=True)], dim=1)
    if mixer.fusion == "split-attention":
        return mixer.project(mixer.attention(maps))
    return mixer.project(maps.mean(dim=1))  # of one map: that map


def check(run, given=V2, **flags):
    return check_mixer(MixerKernel("mine", "", run, **flags), given, CPU, seed=0)


@pytest.mark.parametrize("splits", [(V1,), (V1, ()), (V2_FIRST, V1, ())])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mixer_written_out_is_right_in_every_dtype(splits, dtype):
    case = check(plain, CheckInput((2, 5, 4, 16), splits, dtype, "contiguous"))
    assert case.right
    assert case.tolerance > 0
    outputs = case.forward.elements / 2  # each in training and in inference
    assert case.gradient.elements > outputs  # weights too


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mixer_that_does_not_shift_is_wrong_in_every_dtype(dtype):
    def unshifted(x, mixer):
        return plain(x, mixer, shift=lambda part, directions: part)

    case = check(unshifted, CheckInput((2, 5, 4, 16), (V1,), dtype, "contiguous"))
    assert case.forward.wrong > 0
    assert case.gradient.wrong > 0


def test_a_kernel_that_knows_only_one_fusion_is_wrong():
    """Every case stands for split attention and for the mean."""

    def never_mean(x, mixer):
        return plain(x, mixer) if mixer.fusion != "mean" else 0 * plain(x, mixer)

    case = check(never_mean)
    assert case.forward.wrong == case.forward.elements / 3


def test_a_kernel_that_forgets_the_biases_of_the_attention_is_wrong():
    def forgets(x, mixer):
        if mixer.attention is not None and mixer.attention.expand.bias is not None:
            mixer.attention.expand.bias.data.zero_()
        return plain(x, mixer)

    assert check(forgets).forward.wrong > 0


def test_a_kernel_without_a_gradient_is_checked_forward_only():
    case = check(lambda x, mixer: plain(x, mixer).detach(), trains=False)
    assert case.right
    assert case.gradient is None
