"""WebDataset shards: tars in which ``key.jpg`` and ``key.cls`` (or ``key.json``) stand together."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from s2mlp_cli.data.images import SUFFIXES, ImageSet, base_name
from s2mlp_cli.data.labels import Labels, class_number
from s2mlp_cli.data.tars import Member, read_archive, tar_source
from s2mlp_cli.errors import DataError

_LABEL_ENDINGS = ("cls", "json")


def is_webdataset(found: Collection[Member]) -> bool:
    """Tell whether an archive's members hold labels beside images of the same key."""
    labels = {_split(m.name)[0] for m in found if _split(m.name)[1] in _LABEL_ENDINGS}
    return any(_is_image(m) and _split(m.name)[0] in labels for m in found)


def webdataset(shards: list[Path], path: Path) -> ImageSet:
    """Read the samples of all ``shards`` in their order.

    Raises:
        DataError: a shard cannot be read, or a sample lacks its label.
    """
    places: list[tuple[int, Member]] = []
    values: list[int] = []
    stated: list[str] = []
    for number, shard in enumerate(shards):
        archive = read_archive(shard)
        stated += (f"{shard.name}: {sentence}" for sentence in archive.stated)
        found = archive.members.values()
        labels = _shard_labels(shard, found)
        for key, member in _shard_images(shard, found).items():
            if key not in labels:
                raise DataError(
                    f"the sample {key} in {shard} has an image but no .cls and no .json with a "
                    "'label'; write its class number beside it"
                )
            places.append((number, member))
            values.append(labels[key])
    names = tuple(member.name for _, member in places)
    source = tar_source(tuple(map(str, shards)), places)
    count = f"{len(shards)} WebDataset shard{'s' * (len(shards) != 1)}"
    labelled = Labels.from_values(values, "the shards' classes")
    return ImageSet(count, str(path), source, names, labelled, tuple(stated))


def _split(name: str) -> tuple[str, str]:
    """Split at the first dot of the last part, as WebDataset does: (key, ending)."""
    folder = name[: len(name) - len(base_name(name))]
    stem, _, ending = base_name(name).partition(".")
    return folder + stem, ending.lower()


def _is_image(member: Member) -> bool:
    """Tell whether a member is the image of its key: ``key.jpg``, but not ``key.seg.png``."""
    key, ending = _split(member.name)
    return f".{ending}" in SUFFIXES and bool(base_name(key))


def _shard_images(shard: Path, found: Collection[Member]) -> dict[str, Member]:
    """Return key -> its image."""
    images: dict[str, Member] = {}
    for member in filter(_is_image, found):
        other = images.setdefault(_split(member.name)[0], member)
        if other is not member:
            raise DataError(
                f"the sample {_split(member.name)[0]} in {shard} has two images, {other.name} and "
                f"{member.name}; keep one of them"
            )
    return images


def _shard_labels(shard: Path, found: Collection[Member]) -> dict[str, int]:
    """Return key -> class number; a .cls goes before a .json."""
    labels: dict[str, int] = {}
    with open(shard, "rb") as stream:
        for ending in reversed(_LABEL_ENDINGS):
            for member in found:
                key, its_ending = _split(member.name)
                if its_ending != ending:
                    continue
                stream.seek(member.offset)
                label = _parse(ending, stream.read(member.size), f"{shard}: {member.name}")
                if label is not None:
                    labels[key] = label
    return labels


def _parse(ending: str, content: bytes, where: str) -> int | None:
    try:
        if ending == "cls":
            return class_number(content)
        label = json.loads(content).get("label")
        return None if label is None else class_number(label)
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{where} does not hold a class number ({error}); correct it") from error
