"""A row of a profile in words, the same wherever it is spoken of."""

import pytest

from s2mlp_cli.records.profile import Memory, ProfileResult
from s2mlp_cli.records.profile_rows import (
    implementation,
    options,
    peak_bytes,
    setting,
    where,
)


def row(**fields):
    return ProfileResult(
        **{
            "model": "v2-small", "shift": "conv", "level": "block", "stage": 1, "device": "cpu",
            "dtype": "fp32", "batch_size": 8, "input_size": (224, 192), "shape": (8, 16, 14, 384),
            "threads": 2, **fields,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "v2-small, one block of stage 1"),
        ({"level": "op", "stage": 0}, "v2-small, shift alone of stage 0"),
        ({"level": "model", "stage": None}, "v2-small, whole model"),
    ],
)
def test_where(fields, words):
    assert where(row(**fields)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "cpu, fp32, batch 8, 224×192, 2 threads"),
        ({"threads": 1}, "cpu, fp32, batch 8, 224×192, 1 thread"),
        ({"mode": "training"}, "cpu, fp32, batch 8, 224×192, training, 2 threads"),
        ({"device": "cuda:0"}, "cuda:0, fp32, batch 8, 224×192"),
        (
            {"compiled": True, "cuda_graph": True, "channels_last": True, "device": "cuda:0"},
            "cuda:0, fp32, batch 8, 224×192, compiled, CUDA graph, channels last",
        ),
    ],
)
def test_setting(fields, words):
    assert setting(row(**fields)) == words
    assert setting(row(**fields), batch=False) == words.replace("batch 8, ", "")
    assert all(option in words for option in options(row(**fields)))


def test_a_model_without_shifts_has_no_implementation():
    assert (implementation(row()), implementation(row(shift=None))) == ("conv", "no shift")
    assert implementation(row(runtime="openvino")) == "conv (openvino)"


@pytest.mark.parametrize(
    ("memory", "peak"),
    [
        (None, None),
        (Memory(weights_bytes=1), None),
        (Memory(peak_rss_bytes=5), 5),
        (Memory(peak_allocated_bytes=0, peak_rss_bytes=5), 0),
    ],
)
def test_the_peak_is_what_cuda_allocated_or_a_process_held(memory, peak):
    assert peak_bytes(row(memory=memory)) == peak
