"""Compiled, exported and traced, an implementation computes the same, and eager calls still do."""

import copy

import pytest
import torch
import torch._inductor.metrics as metrics
from mixers import ALL, FIRST, SECOND, forget_tables

import s2mlp_cli
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import Mixer

V2 = {
    "splits": (FIRST, SECOND, ()),
    "activation": "none",
    "fusion": "split-attention",
    "reduction": 4,
}
V1 = {"splits": (SECOND,), "activation": "gelu", "fusion": "none"}
DIAGONAL = {"splits": (ALL, ()), "activation": "gelu", "fusion": "mean"}
MIXERS = {"v2": V2, "v1": V1, "diagonals": DIAGONAL}
CPU = torch.device("cpu")
RECORDABLE = [
    name
    for name in registry.NAMES
    if registry.get(name).unavailable(CPU) is None and name != "inplace"
]
CHANNELS = 16
BATCH = ({0: torch.export.Dim.DYNAMIC},)


def mixer(shift, kind="v2"):
    torch.manual_seed(0)
    described = Mixer.model_validate(MIXERS[kind])
    return SpatialShiftMixer(CHANNELS, described, registry.get(shift)).eval()


def images(batch):
    return torch.randn(batch, 5, 4, CHANNELS, generator=torch.Generator().manual_seed(batch))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MIXERS)
@pytest.mark.parametrize("shift", RECORDABLE)
def test_the_compiler_records_one_graph_forward_and_backward(shift, kind):
    eager = mixer(shift, kind)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend="aot_eager")
    x = images(2).requires_grad_()
    close(compiled(x), eager(x))
    if shift == "products":  # a floor for inference: it leaves weights out
        return
    inputs = [x, *eager.parameters()]
    expected = torch.autograd.grad(eager(x).square().sum(), inputs)
    inputs = [x, *compiled.parameters()]
    for found, right in zip(
        torch.autograd.grad(compiled(x).square().sum(), inputs), expected, strict=True
    ):
        close(found, right)


@pytest.mark.parametrize("frozen", [False, True], ids=["with gradients", "frozen"])
@pytest.mark.parametrize("shift", RECORDABLE)
def test_an_export_takes_any_batch_and_eager_calls_after_it_are_real(shift, frozen):
    eager = mixer(shift).requires_grad_(not frozen)
    expected = {batch: mixer(shift)(images(batch)).detach() for batch in (1, 3)}
    forget_tables()
    program = torch.export.export(eager, (images(2),), dynamic_shapes=BATCH)
    for batch, right in expected.items():
        close(program.module()(images(batch)).detach(), right)
        after = eager(images(batch)).detach()
        assert type(after) is torch.Tensor
        close(after, right)


@pytest.mark.parametrize("shift", RECORDABLE)
def test_onnx_computes_the_same_at_another_batch_and_eager_calls_after_it_are_real(shift):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    eager = mixer(shift)
    expected = mixer(shift)(images(3)).detach()
    forget_tables()
    exported = torch.onnx.export(
        eager, (images(2),), dynamo=True, dynamic_shapes=BATCH, verbose=False
    )
    session = runtime.InferenceSession(exported.model_proto.SerializeToString())
    (name,) = (given.name for given in session.get_inputs())
    (found,) = session.run(None, {name: images(3).numpy()})
    close(torch.from_numpy(found), expected)
    close(eager(images(3)).detach(), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shift", RECORDABLE)
def test_a_trace_computes_the_same_and_eager_calls_after_it_are_real(shift, graded):
    eager = mixer(shift)
    expected = mixer(shift)(images(2)).detach()
    forget_tables()
    with torch.set_grad_enabled(graded):
        close(torch.jit.trace(eager, (images(2),))(images(2)).detach(), expected)
    close(eager(images(2)).detach(), expected)


def test_inplace_is_neither_compiled_nor_exported():
    """The overlapping slices would become the true shift: another model, silently."""
    torch._dynamo.reset()
    with pytest.raises(UnavailableError, match="run it in eager PyTorch"), torch.no_grad():
        torch.compile(mixer("inplace"), backend="aot_eager")(images(2))
    with pytest.raises(UnavailableError, match="run it in eager PyTorch"):
        torch.export.export(mixer("inplace"), (images(2),))


PUBLIC = ("slice", "roll", "conv", "deform", "concat")


@pytest.mark.parametrize("shift", [name for name in PUBLIC if name in RECORDABLE])
def test_the_public_function_compiles_in_one_graph_on_its_first_call(shift):
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: s2mlp_cli.shift(x, SECOND, shift), fullgraph=True, backend="eager"
    )
    close(compiled(images(2)), s2mlp_cli.shift(images(2), SECOND, "oracle"))


@pytest.mark.parametrize("shift", [name for name in RECORDABLE if name != "products"])
def test_neither_compiled_nor_exported_are_the_maps_stacked(shift):
    """A stack is a copy of all the maps; and no table is filled in on the way to the device."""
    seen = []

    def backend(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op != "output")
        return graph.forward

    torch._dynamo.reset()
    torch.compile(mixer(shift), fullgraph=True, backend=backend)(images(2))
    program = torch.export.export(mixer(shift), (images(2),), dynamic_shapes=BATCH)
    seen.extend(str(node.target) for node in program.graph.nodes if node.op != "output")
    assert seen
    assert not [target for target in seen if "stack" in target]


def test_the_compiler_makes_one_kernel_of_a_shift_on_a_cpu_and_few_of_a_mixer():
    """The numbers in DESIGN.md: kernels that inductor generates, the library's products apart."""

    def kernels(function):
        torch._dynamo.reset()
        metrics.reset()
        with torch.no_grad():
            torch.compile(function, fullgraph=True)(images(8))
        return metrics.generated_kernel_count

    assert kernels(lambda x: s2mlp_cli.shift(x, FIRST, "concat")) == 1
    assert kernels(mixer("fused")) <= 9
