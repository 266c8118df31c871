"""Accuracy over cost and speed: what all records of a report know of each model, joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from s2mlp_cli.views.document import (
    Column,
    KnownModel,
    Number,
    Picture,
    Table,
    Tone,
    View,
)
from s2mlp_cli.views.svg import points

# Family -> how the names of its specs begin.
_FAMILIES = {
    "S2-MLP": ("v1-",),
    "S2-MLPv2": ("v2-",),
    "other MLPs": ("mixer-", "resmlp-", "gmlp-", "vip-"),
    "Fourier": ("gfnet-",),
    "attention": ("vit-", "deit-", "pit-", "tnt-", "swin-", "nest-", "pvtv2-"),
    "convolution": ("resnet", "regnety-", "efficientnet-"),
}
_TONES: dict[str, Tone] = {"measured": "good", "published": "quiet"}

# What an accuracy is drawn over: field -> title, raw units in one of the axis's.
_AXES = {
    "images_per_s": ("images/s", 1.0),
    "macs": ("GMACs", 1e9),
    "params": ("M parameters", 1e6),
}


def view(models: Sequence[KnownModel]) -> View | None:
    """Return the view; None where fewer than two accuracies have a cost to be drawn over."""
    known = [model for model in _joined(models) if any(getattr(model, axis) for axis in _AXES)]
    if len(known) < 2:
        return None
    measured = sum(model.measured for model in known)
    best = max(known, key=lambda model: model.top1 or 0.0)
    return View(
        title="Accuracy over cost",
        answers=(
            f"{len(known)} accuracies on ImageNet-1K, {measured} measured and "
            f"{len(known) - measured} published; the highest top-1 is {best.top1:.1f} % "
            f"({best.label}).",
        ),
        pictures=partial(_pictures, known),
        details=lambda: [_table(known)],
        remarks=(
            "Hollow marks are published accuracies, filled ones are measured. Lines connect the "
            "Pareto front: no other model has a higher accuracy at the same or lower cost.",
        ),
    )


def _joined(models: Sequence[KnownModel]) -> Iterator[KnownModel]:
    """Yield each known accuracy once, with what any record knows of the model's cost and speed."""
    seen = set()
    for each in models:
        mark = (each.model, each.top1, each.measured)  # tables print a model again as "Small/7"
        if each.top1 is not None and mark not in seen:
            seen.add(mark)
            same = [other for other in models if other.model == each.model]
            fastest = max(same, key=lambda other: other.images_per_s or 0.0)
            yield replace(
                each,
                macs=each.macs or next((other.macs for other in same if other.macs), None),
                params=each.params or next((other.params for other in same if other.params), None),
                images_per_s=fastest.images_per_s,
                setting=fastest.setting,
            )


def _pictures(known: Sequence[KnownModel]) -> Iterator[Picture]:
    for axis, (title, scale) in _AXES.items():
        marks = [
            points.Mark(
                family=_family(model.model),
                label=model.label,
                x=getattr(model, axis) / scale,
                y=model.top1 or 0.0,
                filled=model.measured,
            )
            for model in known
            if getattr(model, axis)
        ]
        if len(marks) > 1:
            setting = next((m.setting for m in known if m.setting), "")
            where = f" ({setting})" if axis == "images_per_s" and setting else ""
            yield Picture(
                name=f"accuracy-{axis.replace('_', '-')}",
                description=f"Points of top-1 accuracy over {title} for {len(marks)} models, and "
                "the line of those that no other one beats in both.",
                drawing=points.scatter(
                    marks, title, axis == "images_per_s", title=f"Top-1 over {title}{where}"
                ),
            )


def _family(model: str) -> str:
    return next(
        (family for family, starts in _FAMILIES.items() if model.startswith(starts)), "others"
    )


def _table(known: Sequence[KnownModel]) -> Table:
    return Table(
        caption="Models",
        columns=(
            Column("Model"),
            Column("Family"),
            Column("Top-1", "{:.2f}".format, "%", numeric=True),
            Number("MACs", unit="G", scale=1e9, digits=3, bar=True),
            Number("Parameters", unit="M", scale=1e6, digits=3, bar=True),
            Number("Speed", unit="images/s", bar=True),
            Column("Accuracy", tones=_TONES),
        ),
        rows=tuple(
            (
                model.label,
                _family(model.model),
                model.top1,
                model.macs,
                model.params,
                model.images_per_s,
                "measured" if model.measured else "published",
            )
            for model in sorted(known, key=lambda model: -(model.top1 or 0.0))
        ),
    )
