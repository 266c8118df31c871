import pytest
import torch

from s2mlp_cli.measure.faults import first_line, is_of_compiler, is_out_of_memory, is_unsupported

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
