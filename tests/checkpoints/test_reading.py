"""Damaged and hostile files end in one sentence, and nothing of them ever runs."""

import argparse
import hashlib
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp

from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.checkpoints.reading import read_checkpoint
from s2mlp_cli.checkpoints.weights import take_weights
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from tests.digits import save_legacy, save_safetensors, save_zip, tar_of
from tests.tiny import TINY

SAVERS = {
    "PyTorch zip": save_zip,
    "PyTorch legacy": save_legacy,
    "safetensors": save_safetensors,
}


def refused(path, *parts):
    with pytest.raises(CheckpointError) as caught:
        take_weights(read_checkpoint(path).content)
    text = str(caught.value)
    assert all(part in text for part in parts), text
    assert "\n" not in text
    assert "; " in text


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("form", SAVERS)
def test_the_form_is_recognised_and_hashed(form, tmp_path):
    SAVERS[form]({"a.weight": torch.arange(3.0)}, tmp_path / "file")
    file = read_checkpoint(tmp_path / "file")
    assert file.form == form
    assert file.content["a.weight"].tolist() == [0, 1, 2]
    assert file.sha256 == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_a_malicious_pickle_is_refused_by_name_and_does_not_run(save, tmp_path):
    trace = tmp_path / "trace"
    save({"w": torch.ones(2), "payload": Evil(trace)}, tmp_path / "evil.pth")
    refused(tmp_path / "evil.pth", "is refused: it asks for posix.system")
    assert not trace.exists()
    with (tmp_path / "evil.pth").open("rb") as stream:  # the trap works: plain pickle falls in
        if save is save_legacy:
            for _ in range(3):
                pickle.load(stream)
            with pytest.raises(pickle.UnpicklingError):
                pickle.load(stream)


def test_a_bare_malicious_pickle_is_not_a_checkpoint(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(trace)))
    refused(
        tmp_path / "evil.pkl", "is not a checkpoint: it is a pickle that torch.save did not write"
    )
    assert not trace.exists()


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_a_whole_module_is_refused_by_name(save, tmp_path):
    save({"model": torch.nn.Linear(2, 2)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "it asks for torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("form", SAVERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_reported_wherever_it_ends(form, share, tmp_path):
    path = tmp_path / "x"
    SAVERS[form]({"a": torch.ones(2000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "is truncated or damaged (")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; copy or download it again"),
        (b"hello, world, this is text", "is not a checkpoint"),
        (b"PK\x03\x04" + bytes(300), "is truncated or damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "is a web page, not the file behind its link; download"),
        (b"\x1f\x8b\x08" + bytes(30), "is compressed (gzip); unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), "is an HDF5 file, as Keras writes it; convert"),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_called_what_it_is(content, message, tmp_path):
    (tmp_path / "x").write_bytes(content)
    refused(tmp_path / "x", message)


def test_a_folder_and_a_missing_file(tmp_path):
    refused(tmp_path, "is a folder; give the checkpoint file in it")
    refused(tmp_path / "no", "cannot be read: No such file or directory; check the path")
    refused(tmp_path / "a\0b", "a\\x00b cannot be read: ", "null byte; check the path")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def forbidden(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", forbidden)
    refused(tmp_path, f"the checkpoint {tmp_path} cannot be read: Permission denied; check the")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "contains a list, not a state dict; save model.state_dict()"),
        ({"epoch": 3, "lr": 0.1}, "has no weights (its keys: epoch, lr); save"),
        ({"state_dict": {}}, "has no weights (its keys: state_dict)"),
        ({}, "has no weights (it is empty); save"),
    ],
)
def test_a_checkpoint_without_weights(content, message, tmp_path):
    save_zip(content, tmp_path / "x")
    refused(tmp_path / "x", message)


def test_averaged_weights_that_are_not_there(tmp_path):
    save_zip({"state_dict": {"a": torch.ones(1)}}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="has no averaged weights .*; leave out --ema"):
        take_weights(read_checkpoint(tmp_path / "x").content, averaged=True)


def test_what_was_taken_is_said():
    counters = dict.fromkeys(("n_averaged", "num_updates", "decay"), torch.tensor(3))
    content = {"ema": {"module": {"_orig_mod.module.a": torch.ones(1), **counters}}}
    taken = take_weights(content, averaged=True)
    assert list(taken.state) == ["a"]
    assert taken.taken == "'ema.module', without the prefix '_orig_mod.module.'"
    assert take_weights({"a": torch.ones(1)}).taken == "the state dict itself"
    assert take_weights({"net": {"a": torch.ones(1)}, "ema": None}).taken == "'net'"


def test_a_prefix_is_cut_off_only_where_all_bear_it():
    state = {"model.a": torch.ones(1), "module.b": torch.ones(1)}
    taken = take_weights({"model": state})
    assert (taken.state, taken.taken) == (state, "'model'")


def test_a_mapping_inside_itself_is_entered_once(tmp_path):
    content = {"w": torch.ones(1)}
    content["state_dict"] = content["model"] = content
    save_zip(content, tmp_path / "x")
    assert list(take_weights(read_checkpoint(tmp_path / "x").content).state) == ["w"]
    empty = {}
    empty["model"] = {"ema": empty}
    save_zip(empty, tmp_path / "y")
    refused(tmp_path / "y", "has no weights (its keys: model)")


def test_mappings_may_be_nested_deeper_than_python_recurses():
    content = {"w": torch.ones(1)}
    for _ in range(2000):
        content = {"model": content}
    assert list(take_weights(content).state) == ["w"]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "\ud800", "x" * 5000])
def test_a_name_that_no_model_gives_is_refused(name):
    with pytest.raises(CheckpointError) as caught:
        take_weights({name: torch.ones(1)})
    assert "has a tensor named '" in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_keys_of_a_checkpoint_without_weights_are_printable(tmp_path):
    save_zip({"epoch\n": 1, "x" * 99: 2}, tmp_path / "x")
    refused(tmp_path / "x", r"(its keys: epoch\n, " + "x" * 40 + ")")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_called_one(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "is a TorchScript program, not weights", "save model.state_dict()")


def test_another_programs_zip_archive_is_not_one_of_torchs(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("word/document.xml", "hello")
    refused(
        tmp_path / "x.pth", "is a zip archive (first 'word/document.xml'), but not one of PyTorch's"
    )


NUMBERS = [
    np.dtype(code).type(1) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"
]


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_numbers_of_numpy_of_every_type_pass(save, tmp_path):
    extras = {f"n{index}": number for index, number in enumerate(NUMBERS)}
    extras["rng"] = ("MT19937", np.arange(4, dtype=np.uint32), 624, 0, 0.0)
    extras |= {"text": np.str_("x"), "when": np.datetime64("2026-01-01")}
    extras["args"] = argparse.Namespace(output=Path("out"), lr=np.float32(0.1))
    save({"model": {"w": torch.ones(1)}, **extras}, tmp_path / "x.pth")
    content = read_checkpoint(tmp_path / "x.pth").content
    assert [content[f"n{index}"] for index in range(len(NUMBERS))] == NUMBERS
    assert content["rng"][1].tolist() == [0, 1, 2, 3]
    assert content["args"].output == Path("out")


def test_numpy_objects_that_are_not_numbers_are_refused_by_name(tmp_path):
    save_zip({"w": torch.ones(1), "x": np.random.default_rng(0)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "is refused: it asks for numpy.random._pickle.__generator_ctor")


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("as_zip", [True, False])
def test_another_pickle_protocol_is_named_and_the_file_not_called_damaged(
    protocol, as_zip, tmp_path
):
    torch.save(
        {"w": torch.ones(1)}, tmp_path / "x.pth", pickle_protocol=protocol,
        _use_new_zipfile_serialization=as_zip,
    )  # fmt: skip
    refused(tmp_path / "x.pth", f"is written in pickle protocol {protocol}, which torch's safe")
    if as_zip:
        refused(tmp_path / "x.pth", "does not read: Unsupported operand 149; load it where you")


def test_what_torchs_safe_reader_does_not_know_is_said_in_its_words(tmp_path):
    save_zip({"w": torch.ones(1), "x": 2**3000}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "torch's safe reader cannot load the checkpoint", "operand 139)")


def test_a_zip_whose_checksum_is_wrong_is_damaged(tmp_path):
    save_zip({"w": torch.arange(1000.0), "x": 2**3000}, tmp_path / "x.pth")
    content = bytearray((tmp_path / "x.pth").read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes())] ^= 1
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", "is truncated or damaged (the checksum of x/data/0 is wrong)")


def test_the_tar_format_and_other_tars_are_named(tmp_path):
    members = dict.fromkeys(("sys_info", "pickle", "storages", "tensors"), b"x")
    refused(tar_of(tmp_path / "old.pth", members), "is in PyTorch's tar format of 2016")
    refused(tar_of(tmp_path / "x.tar", {"w.pth": b"x"}), "is a tar archive (first 'w.pth'); unpack")


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_is_named(tmp_path):
    dcp.save({"w": torch.ones(1)}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    refused(tmp_path / "dcp", "is a distributed checkpoint (DCP); make one file", "dcp_to_torch")
    refused(tmp_path / "dcp" / ".metadata", "dcp is a distributed checkpoint (DCP); make one file")
    refused(next((tmp_path / "dcp").glob("*.distcp")), "is a piece of a distributed checkpoint")


def sharded(folder, suffix="safetensors"):
    state = build_model(TINY).state_dict()
    half = len(state) // 2
    parts = dict(list(state.items())[:half]), dict(list(state.items())[half:])
    places = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-00002.{suffix}"
        (save_safetensors if suffix == "safetensors" else save_zip)(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = folder / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index, state


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_by_their_index_or_folder(suffix, tmp_path):
    index, state = sharded(tmp_path, suffix)
    for path in (index, tmp_path):
        loaded = load_checkpoint(path, TINY)
        assert loaded.state.keys() == state.keys()
        assert all(torch.equal(loaded.state[name], tensor) for name, tensor in state.items())
        assert loaded.facts.form.endswith(", 2 shards")
        assert loaded.facts.bytes == sum(each.stat().st_size for each in tmp_path.iterdir())
    index.unlink()
    refused(tmp_path, "has 2 shards (the first is model-00001-of-00002.", "without their index")
    for spec in (TINY, None):
        with pytest.raises(CheckpointError, match="it is shard 2 of 2; give the index .* or the f"):
            load_checkpoint(tmp_path / f"model-00002-of-00002.{suffix}", spec)


def test_a_wrong_index_is_named(tmp_path):
    index, state = sharded(tmp_path)
    places = json.loads(index.read_text())["weight_map"]
    swapped = {**places, next(iter(state)): "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"weight_map": swapped}))
    refused(index, f"says that {next(iter(state))} is in model-00002-of-00002.safetensors, which")
    for text in ("{}", "[]", "x", '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": 1}}'):
        index.write_text(text)
        refused(index, "is not the index of a sharded checkpoint")
    index.write_text(json.dumps({"weight_map": {"a": index.name}}))
    refused(index, f"{index.name} is not a checkpoint")
    index.write_text(json.dumps({"weight_map": {"a": ".."}}))
    refused(index, "cannot be read: Is a directory")
    index.write_text('{"weight_map": {"a": "gone.safetensors"}}')
    refused(index, "gone.safetensors cannot be read: No such file")


def test_no_warning_of_torch_is_seen(tmp_path):
    makers = (
        lambda: torch.ones(2, 2).to_sparse_csr(), lambda: torch.ones(2, dtype=torch.complex64),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    )  # fmt: skip
    for make in makers:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_legacy({"w": make()}, tmp_path / "x.pth")
        with warnings.catch_warnings(record=True) as seen, pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "x.pth", TINY)
        assert seen == []
    torch.save({"w": torch.ones(1)}, tmp_path / "x.pth", pickle_protocol=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_checkpoint(tmp_path / "x.pth").content["w"].item() == 1


def test_a_zip_of_an_unknown_version_is_a_sentence(tmp_path):
    path = tmp_path / "new.pth"
    torch.save({"a": torch.ones(2)}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 99  # the version that is needed to extract
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="zip file version 9.9"):
        read_checkpoint(path)


def test_an_unknown_encoding_in_a_pickle_is_damage(tmp_path):
    """Torch's reader allows a pickle to encode text, in whatever encoding it names."""
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        program = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x01\x00\x00\x00w\x86R."
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")
    refused(path, "unknown encoding: w")


def test_backslashes_in_the_names_of_a_broken_pickle_warn_nobody(tmp_path):
    path = tmp_path / "old.pth"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    path.write_bytes(magic + pickle.dumps(1001, protocol=2) + b"\x80\x02i\\Ra\nb\n.")
    with pytest.raises(CheckpointError, match="old.pth"):
        read_checkpoint(path)
