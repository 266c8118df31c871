"""The tars of a WebDataset: of each sample the files ``KEY.FIELD`` are beside each other.

The class is in ``KEY.cls`` or, as ``label``, in ``KEY.json``; the image may have another field, as
in ``0.input.png`` beside ``0.target.cls``. A key may contain dots, too: ``img.0001.png``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from pydantic_core import from_json

from s2mlp_cli.data.archives import Archive, read_at
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import Labels, class_number
from s2mlp_cli.data.layout import all_images
from s2mlp_cli.data.names import ending, kind_of, stem
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.data.tars import TarSource, read_tar
from s2mlp_cli.errors import DataError

# The endings of members that say the class of an image; the last goes before the first.
_LABEL_ENDINGS = (".json", ".cls")

# A part of a key with dots rather than the name of a field.
_NUMBER = re.compile(r"\.\d+(?:\.|$)")


def webdataset(first: Archive, shards: list[Path], path: Path, reading: Reading) -> ImageSet | None:
    """Read the samples of all shards at a path in their order; None if the first has no labels.

    Raises:
        DataError: a shard cannot be read, or a sample lacks its label or has two images.
    """
    names: list[str] = []
    rows: list[tuple[int, ...]] = []
    values: list[int] = []
    for number, shard in enumerate(shards):
        archive = read_tar(shard, reading) if number else first
        labels = _labels(archive, reading)
        if not labels and archive is first:
            return None
        for name, value in _samples(archive, labels, reading).items():
            names.append(name)
            rows.append((number, *archive.members[name]))
            values.append(value)
    source = TarSource(tuple(map(str, shards)), np.asarray(rows, np.int64))
    form = f"{len(shards)} WebDataset shard{'s' * (len(shards) != 1)}"
    labelled = Labels.from_values(values, "the shards' classes")
    return ImageSet(form, str(path), source, tuple(names), labelled)


def _key(name: str) -> str:
    """Return a name up to the first dot of its last part, as WebDataset does."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _labels(archive: Archive, reading: Reading) -> dict[str, dict[str, int]]:
    """Return key -> the names that have a class, without their ending -> the class."""
    labels: dict[str, dict[str, int]] = defaultdict(dict)
    written = [name for name in archive.members if ending(name) in _LABEL_ENDINGS]
    if not written:
        return labels
    others = ("archive", "other")
    keys = {_key(name) for name in archive.members if kind_of(name) not in others}
    written = [name for name in written if _key(name) in keys]
    for name in sorted(written, key=lambda name: _LABEL_ENDINGS.index(ending(name))):
        content = read_at(str(archive.path), *archive.members[name])
        value = _class(ending(name), content, f"{archive.path}: {name}")
        if value is not None:
            labels[_key(name)][stem(name)] = value
    if written and not labels:
        first = f"the first is {written[0]}"
        reading.remark(f"{archive.path.name}: no .json beside an image has a 'label'; {first}")
    return labels


def _class(kind: str, content: bytes, where: str) -> int | None:
    try:
        written = content if kind == ".cls" else from_json(content.decode("utf-8-sig")).get("label")
        return None if written is None else class_number(written)
    except (ValueError, AttributeError) as error:
        raise DataError(f"{where} does not contain a class number ({error}); correct it") from error


def _samples(
    archive: Archive, labels: dict[str, dict[str, int]], reading: Reading
) -> dict[str, int]:
    """Return image -> class, in the order of the archive.

    ``KEY.seg.png`` is another thing of the sample than its image where ``KEY.png`` is there.
    """
    found = set(all_images([archive.root()], reading))
    images = [name for name in archive.members if name in found]
    with_image = {stem(name) for name in images}
    samples: dict[str, str] = {}
    classes: dict[str, int] = {}
    for name in images:
        key, sample = _key(name), stem(name)
        of_key = labels.get(key, {})
        if sample not in of_key:
            free = [each for each in of_key if each not in with_image]
            if len(free) == 1 and not any(_NUMBER.search(n, len(key)) for n in (sample, free[0])):
                sample = free[0]
            elif key in of_key:
                reading.pass_over([name], "beside those of the samples, KEY.ENDING")
                continue
            else:
                raise DataError(
                    f"the sample {sample} in {archive.path} has an image but no .cls and no .json "
                    "with a 'label'; write its class number beside it"
                )
        if (other := samples.setdefault(sample, name)) != name:
            raise DataError(
                f"the sample {sample} in {archive.path} has two images, {other} and {name}; keep "
                "one of them"
            )
        classes[name] = of_key[sample]
    return classes
