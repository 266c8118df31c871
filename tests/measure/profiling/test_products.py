from s2mlp_cli.measure.profiling.products import matmul_macs
from s2mlp_cli.measure.profiling.workloads import Case


def macs(spec, level, stage=None):
    return matmul_macs(Case(spec, level, stage, "cpu", "fp32", 2))


def test_the_products_of_a_block_are_those_of_its_linear_layers(tiny):
    positions, channels = 2 * 36, 8
    mixer = positions * (3 * channels**2 + channels**2)
    attention = 2 * (channels * 2 + 2 * 3 * channels)
    mlp = positions * 2 * 2 * channels**2
    assert macs(tiny, "block", 0) == mixer + attention + mlp


def test_a_model_has_those_of_its_blocks_and_more_and_a_shift_has_none(tiny):
    blocks = macs(tiny, "block", 0) + 2 * macs(tiny, "block", 1)
    patches = 2 * 36 * 8 * 3 * 16 + 2 * 9 * 16 * 8 * 4
    assert macs(tiny, "model") == blocks + patches + 2 * 16 * 5
    assert macs(tiny, "op", 0) == 0
