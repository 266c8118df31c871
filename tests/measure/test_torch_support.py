"""Devices, precisions and the errors of torch."""

import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.torch_support import (
    first_line,
    is_of_compiler,
    is_out_of_memory,
    is_unsupported,
    precision,
    require_dtype,
    target,
)


@pytest.fixture
def gpus(monkeypatch):
    def set_count(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        return current

    current = []
    return set_count


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, None, "cpu"),
        (0, "cpu", "cpu"),
        (2, None, "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_target(gpus, count, name, found):
    current = gpus(count)
    assert str(target(name)) == found
    assert [str(place) for place in current] == ([] if found == "cpu" else [found])


@pytest.mark.parametrize(
    ("count", "local_rank", "name", "found"),
    [
        (2, 1, None, "cuda:1"),
        (2, 1, "cuda", "cuda:1"),
        (2, 3, None, "cuda:1"),  # more processes than GPUs share them
        (2, 1, "cuda:0", "cuda:0"),
        (2, 1, "cpu", "cpu"),
        (0, 1, None, "cpu"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own_unless_told(gpus, count, local_rank, name, found):
    gpus(count)
    assert str(target(name, local_rank)) == found


@pytest.mark.parametrize(
    ("count", "name", "there"), [(0, "tpu", "cpu"), (2, "cuda:2", "cpu or cuda:0 or cuda:1")]
)
def test_a_device_that_is_not_there_is_named_with_those_that_are(gpus, count, name, there):
    gpus(count)
    with pytest.raises(UnavailableError) as error:
        target(name)
    assert str(error.value) == f"there is no device '{name}' here; use --device {there}"


@pytest.mark.parametrize(
    ("built", "told", "missing"),
    [
        (False, None, "was built without CUDA; install a build with it, or use --device cpu"),
        (True, "Found no NVIDIA driver on your system. Please", "the NVIDIA driver is missing"),
        (True, "No CUDA GPUs are available", "no card (torch says: No CUDA GPUs are available)"),
        (True, None, "the driver lists no card (see CUDA_VISIBLE_DEVICES); use --device cpu"),
    ],
)
def test_without_a_gpu_the_sentence_says_what_is_missing(gpus, monkeypatch, built, told, missing):
    def init():
        if told:
            raise RuntimeError(told)

    gpus(0)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(UnavailableError) as error:
        target("cuda")
    assert missing in str(error.value)


NEWER = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")


def newer(name):
    place, _, leaf = name.partition(".")
    return getattr(getattr(torch.backends, place), leaf)


# What a program may have set before, with the newer interface or the older one.
SETTINGS = {
    "nothing": lambda: None,
    "high, the older way": lambda: torch.set_float32_matmul_precision("high"),
    "medium, the older way": lambda: torch.set_float32_matmul_precision("medium"),
    "tf32 products": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "ieee convolutions": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "tf32 everywhere": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "ieee in cudnn": lambda: setattr(torch.backends.cudnn, "fp32_precision", "ieee"),
}


@pytest.fixture
def switches():
    yield
    torch.backends.fp32_precision = "none"
    torch.backends.cudnn.fp32_precision = torch.backends.mkldnn.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    for name in NEWER:
        newer(name).fp32_precision = "tf32" if name.startswith("cudnn") else "none"


@pytest.mark.parametrize("before", SETTINGS)
@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_tf32_is_on_for_tf32_only_and_restored(switches, before, dtype, allowed):
    SETTINGS[before]()
    found = [newer(name).fp32_precision for name in NEWER]
    with precision(dtype):
        inside = {newer(name).fp32_precision for name in NEWER}
        assert inside == ({"tf32"} if allowed else {"ieee"})
        assert (torch.get_float32_matmul_precision() == "high") == allowed
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
        assert torch.backends.cudnn.allow_tf32 == allowed
    assert [newer(name).fp32_precision for name in NEWER] == found


@pytest.mark.parametrize("level", ["highest", "high", "medium"])
def test_the_older_interface_reads_as_before(switches, level):
    torch.set_float32_matmul_precision(level)
    with precision("fp32"):
        pass
    assert torch.get_float32_matmul_precision() == level
    assert torch.backends.cudnn.allow_tf32


def test_a_cpu_does_not_support_tf32():
    with pytest.raises(UnavailableError, match="cpu does not support tf32.* use --dtype fp32"):
        require_dtype(torch.device("cpu"), "tf32")


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_cpu_multiplies_in_the_others(dtype):
    require_dtype(torch.device("cpu"), dtype)


MISSING = (
    "Dispatch failed at /src/vision/deform_conv2d_kernel.cpp:12: "
    "\"deformable_im2col\" not implemented for 'BFloat16'\nException raised from ..."
)


def test_running_out_of_memory_is_told_from_other_faults():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"))
    assert is_out_of_memory(RuntimeError("Triton Error [CUDA]: out of memory"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(MISSING),
        NotImplementedError("no such kernel"),
        RuntimeError("Unsupported data type"),
        RuntimeError("tf32 is Not Supported here"),
    ],
)
def test_what_a_device_lacks_is_told_from_a_bug(error):
    assert is_unsupported(error)
    assert not is_unsupported(RuntimeError("index out of bounds"))
    assert not is_unsupported(KeyError("unsupported"))


def test_a_fault_of_the_compiler_is_known_by_where_it_is_defined():
    fault = type("Unsupported", (RuntimeError,), {"__module__": "torch._dynamo.exc"})
    inherited = type("InductorError", (fault,), {"__module__": "torch._inductor.exc"})
    assert is_of_compiler(fault("call_function"))
    assert is_of_compiler(inherited("no C++ compiler"))
    assert not is_of_compiler(RuntimeError("torch._dynamo"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MISSING, "\"deformable_im2col\" not implemented for 'BFloat16'"),
        ("\n\nbackend='inductor' raised:\nmore", "backend='inductor' raised:"),
        ("", "RuntimeError"),
    ],
)
def test_the_first_line_says_it_without_the_source_of_torch(text, line):
    assert first_line(RuntimeError(text)) == line
