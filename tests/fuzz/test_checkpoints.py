"""Mutated checkpoints of every form. Whatever they ask for, nothing of them ever runs."""

import io
import json
import math
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from s2mlp_cli.models import build_model
from tests.fuzz.budget import budget
from tests.fuzz.law import hold
from tests.fuzz.mutations import damaged_bytes, damaged_tree
from tests.tiny import TINY

pytestmark = pytest.mark.filterwarnings(
    "ignore:Generating overly large repr", "ignore:Casting complex values to real"
)

NAME = "mutant.ckpt"
# The file that hostile pickles would make.
MARK = "it-ran"

STATE = build_model(TINY).state_dict()


def _zip(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _legacy(content):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


METADATA = {
    "s2mlp.spec": TINY.model_dump_json(),
    "s2mlp.preprocessing": json.dumps({"input_size": [24, 24], "crop_pct": 1.0}),
}
WHOLE = {
    "zip": _zip(STATE),
    "wrapped": _zip({"state_dict": {f"module.{name}": STATE[name] for name in STATE}, "epoch": 3}),
    "legacy": _legacy(STATE),
    "safetensors": save(STATE, METADATA),
}


def _hold(content):
    Path(NAME).write_bytes(content)
    hold("convert", "--ckpt", NAME, "-o", "out.safetensors", names=(NAME,))
    assert not Path(MARK).exists()


@pytest.mark.parametrize("form", WHOLE)
def test_the_whole_ones_are_converted(form):
    Path(NAME).write_bytes(WHOLE[form])
    done = hold("convert", "--ckpt", NAME, "-o", "out.safetensors", names=())
    assert f"{len(STATE)} tensors" in " ".join(done.stdout.split())


@budget("checkpoint bytes")
@given(st.sampled_from(sorted(WHOLE)).flatmap(lambda form: damaged_bytes(WHOLE[form])))
def test_bytes(content):
    _hold(content)


# Tensors -----------------------------------------------------------------------------------------

_DTYPES = (
    torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int64, torch.int32,
    torch.int8, torch.uint8, torch.uint16, torch.bool, torch.complex64,
)  # fmt: skip

_CHANGES = (
    lambda draw, t: t.reshape(-1),
    lambda draw, t: t.reshape(1, *t.shape),
    lambda draw, t: t.mT if t.dim() > 1 else t.reshape(-1)[:1],
    lambda draw, t: t.reshape(-1)[:0],
    lambda draw, t: t.new_zeros(draw(st.lists(st.integers(0, 3), max_size=5))),
    lambda draw, t: t.new_zeros(()).expand(draw(st.sampled_from([(2**24, 8), (2**40,), t.shape]))),
    lambda draw, t: t.to(draw(st.sampled_from(_DTYPES))),
    lambda draw, t: torch.full(t.shape, draw(st.sampled_from([math.nan, math.inf, 3e38]))).to(
        t.dtype
    ),
    lambda draw, t: t.to_sparse(),
    lambda draw, t: nn.Parameter(t),
    lambda draw, t: t.tolist(),
    lambda draw, t: {"weight": t},
    lambda draw, t: None,
)

_NAMES = st.sampled_from(
    [
        "", "x", "module.", "module.x", "head.weight", "head.bias", "norm.weight", "\x1b[31m", "a\nb",
        "[bold]", "x" * 100_000, 7, ("a", 1), None, 10**5000, "stages.99999999999.patch.proj.weight",
        "stages.0.blocks.99999999999.mixer.expand.weight", "stages.5.blocks.0.mixer.expand.weight",
        "stages." + "9" * 5000 + ".blocks.0.mixer.expand.weight",
        "stages.0.1.model.0.0.fn.0.weight", "stages.0.blocks.0.mixer.attention.reduce.bias",
    ]
)  # fmt: skip


def _deep(state, levels):
    for _ in range(levels):
        state = {"model": state}
    return state


def _renamed(state, *renames):
    """Rename the tensors whose names are text: what else is there is no name to a wrapper."""
    return {
        rename(name) if isinstance(name, str) else name: value
        for rename in renames
        for name, value in state.items()
    }


_WRAPPERS = (
    lambda s: s,
    lambda s: s,
    lambda s: s,
    lambda s: {"state_dict": s, "model": None, "epoch": 3},
    lambda s: {"module": _renamed(s, "module.{}".format)},
    lambda s: _renamed(s, "_orig_mod.{}".format),
    lambda s: {"model_ema": s},
    lambda s: {"a": s, "b": s},
    lambda s: {"a": s, "optimizer": {"state": {0: {"x": torch.ones(1)}}}},
    lambda s: _renamed(s, "net.{}".format, "ema.net.{}".format),
    lambda s: _renamed(s, lambda name: name.replace(".", ".module._orig_mod.")),
    lambda s: OrderedDict(s),
    lambda s: _deep(s, 100),
    lambda s: [s],
    lambda s: (s, s),
    lambda s: next(iter(s.values()), None),
    lambda s: {"decay": torch.ones(())},
    lambda s: {"model": {"n_averaged": torch.ones(())}},
    lambda s: {"state_dict": {}},
    lambda s: Counter("state_dict"),
)


@st.composite
def _changed_state(draw):
    state = dict(STATE)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(list(state)))
        fault = draw(st.sampled_from(["drop", "rename", "add", "change", "change", "change"]))
        value = state[name]
        if fault == "change":
            # A huge view that is changed again would be a huge file, which may take its room.
            if (
                isinstance(value, Tensor)
                and value.layout == torch.strided
                and value.numel() < 2**20
            ):
                state[name] = draw(st.sampled_from(_CHANGES))(draw, value)
        elif fault == "add":
            state[draw(_NAMES)] = value
        else:
            del state[name]
            if fault == "rename":
                state[draw(_NAMES)] = value
    return draw(st.sampled_from(_WRAPPERS))(state)


@budget("checkpoint tensors")
@given(_changed_state(), st.sampled_from([_zip, _legacy]))
def test_tensors(content, save_as):
    _hold(save_as(content))


# Pickles -----------------------------------------------------------------------------------------

_GLOBALS = st.sampled_from(
    [
        "os system", "posix system", "builtins eval", "builtins exec", "builtins getattr",
        "__builtin__ eval", "subprocess Popen", "subprocess check_output", "pathlib Path.touch",
        "runpy run_path", "importlib import_module", "operator methodcaller", "functools partial",
        "torch load", "torch.hub load", "torch.jit load", "numpy load", "shutil copyfile",
        "torch.nn.modules.linear Linear", "torch.serialization load", "pickle loads", "code interact",
        # what is allowed, with arguments that it does not expect
        "argparse Namespace", "_codecs encode", "collections OrderedDict", "collections Counter",
        "torch Size", "torch device", "torch FloatStorage", "torch float32", "numpy dtype",
        "numpy.core.multiarray scalar", "numpy._core.multiarray scalar", "torch.nn.parameter Parameter",
        "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_sparse_tensor", "torch._tensor _rebuild_from_type_v2",
        "nonsense nothing", "x\x1b[31m y", ". .", "torch.os system", "argparse _sys.modules",
    ]
)  # fmt: skip
_ARGUMENTS = st.one_of(
    st.sampled_from(
        [
            (f"touch {MARK}",),
            (f"open('{MARK}', 'w')",),
            (f"__import__('pathlib').Path('{MARK}').touch()",),
            (["touch", MARK],),
            (MARK, "w"),
            ("rot13", "x"),
            ("x", "bz2"),
            ("V999999999",),
            ("f8", False, True),
            (),
            (10**9,),
            ((1, 2), {"a": 3}),
        ]
    ),
    st.tuples(st.text(max_size=4), st.integers(-5, 10**6)),
)


def _pickled(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def _reduce(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + _pickled(arguments) + b"R"


def _newobj(module, name, arguments):
    return f"c{module}\n{name}\n".encode() + _pickled(arguments) + b"\x81"


def _inst(module, name, arguments):
    parts = b"".join(_pickled(argument) for argument in arguments)
    return b"(" + parts + f"i{module}\n{name}\n".encode()


def _obj(module, name, arguments):
    parts = b"".join(_pickled(argument) for argument in arguments)
    return b"(" + f"c{module}\n{name}\n".encode() + parts + b"o"


def _stack_global(module, name, arguments):
    return _pickled(module) + _pickled(name) + b"\x93" + _pickled(arguments) + b"R"


def _build(module, name, arguments):
    state = {"__class__": str, "__dict__": arguments, "x": arguments}
    return f"c{module}\n{name}\n".encode() + b")R" + _pickled(state) + b"b"


def _persistent(module, name, arguments):
    return _pickled(("storage", f"{module}.{name}", "0", "cpu", *arguments)) + b"Q"


_DEEP = {
    "lists": b"]" * 20_000 + b"a" * 19_999,
    "tuples": b")" + b"\x85" * 20_000,
    "dictionaries": b"}X\x05\x00\x00\x00model" * 5000 + b"N" + b"s" * 5000,
    "a long number": b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000,
    "no stack": b"000",
    "memo": b"j\xff\xff\xff\xff",
    "extension": b"\x82\x01",
}

_FORMS = (_reduce, _newobj, _inst, _obj, _stack_global, _build, _persistent)


@st.composite
def _payload(draw):
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(sorted(_DEEP.values())))
    module, _, name = draw(_GLOBALS).partition(" ")
    return draw(st.sampled_from(_FORMS))(module, name, draw(_ARGUMENTS))


def _zip_of(program):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def _legacy_of(program):
    head = _legacy(torch.ones(1))
    stream = io.BytesIO(head)
    for _ in range(3):  # the magic number, the version and the machine, each a pickle
        pickle.load(stream)
    return head[: stream.tell()] + program + pickle.dumps([], protocol=2)


@budget("checkpoint pickles")
@given(_payload(), st.sampled_from([_zip_of, _legacy_of]), st.booleans())
def test_pickles(payload, packed, bare):
    before, after = (b"", b"") if bare else (b"}X\x05\x00\x00\x00model", b"s")
    _hold(packed(b"\x80\x02" + before + payload + after + b"."))


# Headers of safetensors --------------------------------------------------------------------------


@st.composite
def _headers(draw):
    content = WHOLE["safetensors"]
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if draw(st.booleans()):
        key = draw(st.sampled_from(sorted(METADATA)))
        inner = draw(damaged_tree(json.loads(METADATA[key])))
        header["__metadata__"][key] = json.dumps(inner)
    else:
        header = draw(damaged_tree(header))
    text = json.dumps(header).encode()
    told = draw(st.sampled_from([len(text)] * 4 + [0, len(text) + 1, 2**27, 2**63, 2**64 - 1]))
    return struct.pack("<Q", told) + text + content[8 + size :]


@budget("checkpoint headers")
@given(_headers())
def test_headers(content):
    _hold(content)


# Bombs -------------------------------------------------------------------------------------------


def test_a_zip_that_swells_is_refused():
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_zip({"head.weight": torch.zeros(16)}))) as whole,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as swelling,
    ):
        for entry in whole.infolist():
            is_data = entry.filename.endswith("data/0")
            swelling.writestr(
                entry.filename, bytes(600 * 2**20) if is_data else whole.read(entry.filename)
            )
    _hold(stream.getvalue())


def test_a_view_that_is_larger_than_its_storage_is_refused():
    wide = torch.zeros(1).expand(2**16, 2**20)
    _hold(_zip({**STATE, "stages.0.blocks.0.mlp.fc1.weight": wide}))
    _hold(_zip({**STATE, "head.weight": torch.zeros(1).expand(10**6, 16)}))
