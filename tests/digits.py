"""Held-out digits in every form of data set, and a learned model in every form of checkpoint."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

SYNSETS = tuple(f"n{1440764 + 7 * digit:08d}" for digit in range(10))


@dataclass(frozen=True)
class Digits:
    """Images that a model never saw, the model, and what it makes of them, computed by hand."""

    files: tuple[bytes, ...]
    classes: tuple[int, ...]
    model: nn.Module
    logits: np.ndarray

    @property
    def names(self):
        return tuple(f"ILSVRC2012_val_{i + 1:08d}.JPEG" for i in range(len(self.files)))

    @property
    def synsets(self):
        return tuple(SYNSETS[label] for label in self.classes)

    @property
    def correct1(self):
        return int((self.logits.argmax(1) == np.array(self.classes)).sum())

    @property
    def correct5(self):
        best = np.argsort(-self.logits, axis=1)[:, :5]
        return int((best == np.array(self.classes)[:, None]).any(1).sum())

    @property
    def loss(self):
        logits = self.logits.astype(np.float64)
        highest = logits.max(1)
        total = np.log(np.exp(logits - highest[:, None]).sum(1)) + highest
        return float((total - logits[np.arange(len(logits)), list(self.classes)]).mean())


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


GREY = png(np.full((8, 8, 3), 50, np.uint8))


def fill(folder, *names, content=None):
    """Write the same image under each of these slashed names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(GREY if content is None else content)
    return folder


def unpacked(folder, members):
    """Write members of an archive as files."""
    for name, content in members.items():
        fill(folder, name, content=content)
    return folder


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def zip_of(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def in_folders(digits):
    rows = zip(digits.names, digits.synsets, digits.files, strict=True)
    return {f"./val/{synset}/{name}": content for name, synset, content in rows}


def class_folders(digits, root):
    return unpacked(root, in_folders(digits)), None


def numeric_folders(digits, root):
    rows = zip(digits.names, digits.classes, digits.files, strict=True)
    return unpacked(root, {f"{label}/{name}": content for name, label, content in rows}), None


def flat(digits, root):
    return unpacked(root / "images", dict(zip(digits.names, digits.files, strict=True)))


def write_devkit(digits, path):
    """The devkit numbers classes in an order of its own: here, backwards."""
    number = {synset: 10 - digit for digit, synset in enumerate(SYNSETS)}
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object),
              ("num_children", object)]  # fmt: skip
    rows = [(number[s], s, f"digit {s}", 0) for s in SYNSETS] + [(11, "n09999999", "parent", 2)]
    table = np.empty((len(rows), 1), dtype=fields)
    for i, row in enumerate(rows):
        table[i, 0] = row
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": table}, do_compression=True)
    truth = "".join(f"{number[synset]}\n" for synset in digits.synsets)
    members = {
        "ILSVRC2012_devkit_t12/data/meta.mat": meta.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    return tar_of(path, members, "w:gz")


def write_kaggle(digits, path):
    lines = ["ImageId,PredictionString"]
    lines += [
        f"{name.removesuffix('.JPEG')},{synset} 1 2 3 4 {synset} 5 6 7 8 "
        for name, synset in zip(digits.names, digits.synsets, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_csv(digits, path, prefix=""):
    lines = [f"{prefix}{n},{c}" for n, c in zip(digits.names, digits.classes, strict=True)]
    path.write_text("file,label\n" + "\n".join(lines) + "\n")
    return path


def flat_with_devkit(digits, root):
    write_devkit(digits, root / "ILSVRC2012_devkit_t12.tar.gz")  # found beside the folder
    return flat(digits, root), None


def flat_with_kaggle(digits, root):
    return flat(digits, root), write_kaggle(digits, root / "solution.csv")


def flat_with_csv(digits, root):
    return flat(digits, root), write_csv(digits, root / "some.csv")


def listed(digits, root):
    flat(digits, root)
    return write_csv(digits, root / "list.csv", "images/"), None


def raw_tar(digits, root):
    members = dict(zip(digits.names, digits.files, strict=True))
    tar = tar_of(root / "ILSVRC2012_img_val.tar", members)
    return tar, write_devkit(digits, root / "devkit.tgz")


def tar_of_folders(digits, root):
    return tar_of(root / "val.tar", in_folders(digits)), None


def zip_of_folders(digits, root):
    return zip_of(root / "val.zip", in_folders(digits), zipfile.ZIP_STORED), None


def zip_of_kaggle(digits, root):
    folder = "ILSVRC/Data/CLS-LOC"
    members = {f"{folder}/train/{SYNSETS[0]}/{SYNSETS[0]}_1.JPEG": b"not read"}
    members |= {f"{folder}/val/{n}": c for n, c in zip(digits.names, digits.files, strict=True)}
    members[f"{folder}/test/ILSVRC2012_test_00000001.JPEG"] = b"not read"
    write_kaggle(digits, root / "LOC_val_solution.csv")  # found beside the archive
    return zip_of(root / "imagenet-object-localization-challenge.zip", members), None


def webdataset(digits, root):
    half = len(digits.files) // 2
    for shard, rows in enumerate((range(half), range(half, len(digits.files)))):
        members = {}
        for row in rows:
            members[f"{row:05d}.png"] = digits.files[row]
            if row % 2:
                members[f"{row:05d}.cls"] = str(digits.classes[row]).encode()
            else:
                members[f"{row:05d}.json"] = json.dumps({"label": digits.classes[row]}).encode()
        tar_of(root / f"val-{shard:04d}.tar", members)
    tar_of(root / "train-0000.tar", {"x.png": b"", "x.cls": b"0"})
    return str(root / "val-*.tar"), None


def parquet(digits, root):
    (root / "data").mkdir()
    half = len(digits.files) // 2
    for part, rows in enumerate((range(half), range(half, len(digits.files)))):
        images = [{"bytes": digits.files[r], "path": digits.names[r]} for r in rows]
        table = pa.table({"image": images, "label": [digits.classes[r] for r in rows]})
        pq.write_table(table, root / "data" / f"validation-{part:05d}.parquet", row_group_size=7)
    (root / "data" / "train-00000.parquet").write_bytes(b"not read")
    return root, None


DATA_FORMS = {
    form.__name__: form
    for form in (
        class_folders, numeric_folders, flat_with_devkit, flat_with_kaggle, flat_with_csv, listed,
        raw_tar, tar_of_folders, zip_of_folders, zip_of_kaggle, webdataset, parquet,
    )
}  # fmt: skip


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def noise(state):
    """Weights that must not be taken."""
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def _scripts_of_timm(state):
    arguments = argparse.Namespace(lr=1e-3, best=np.float64(0.5), path="x")
    return {
        "epoch": 3,
        "arch": "s2mlp",
        "state_dict": noise(state),
        "state_dict_ema": prefixed(state, "module."),
        "args": arguments,
        "metric": np.float64(97.5),
    }


# name -> (how the state dict is wrapped, whether --ema is given).
CHECKPOINT_FORMS = {
    "bare": (dict, False),
    "state_dict": (lambda state: {"state_dict": state, "epoch": 1}, False),
    "model": (lambda state: {"model": state, "optimizer": {"lr": 1.0}}, False),
    "model with the averaged one beside": (
        lambda state: {"model": state, "model_ema": noise(state)}, False
    ),
    "model_ema": (lambda state: {"model": noise(state), "model_ema": state}, True),
    "ema in a wrapper": (lambda state: {"ema": {"module": state, "decay": 0.9}}, True),
    "timm's script": (_scripts_of_timm, True),
    "module.": (lambda state: prefixed(state, "module."), False),
    "compiled and parallel": (
        lambda state: {"state_dict": prefixed(state, "_orig_mod.module.")}, False
    ),
    "backbone.": (lambda state: {"state_dict": prefixed(state, "backbone.")}, False),
    "averaged by torch": (
        lambda state: {**prefixed(state, "module."), "n_averaged": torch.tensor(7)}, False
    ),
}  # fmt: skip


def save_zip(content, path):
    torch.save(content, path)


def save_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_safetensors(content, path):
    """Only flat mappings of tensors can be saved so."""
    save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
