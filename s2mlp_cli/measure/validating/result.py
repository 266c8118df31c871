"""From the finished table of a run to its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.fingerprint import fingerprint
from s2mlp_cli.errors import DataError
from s2mlp_cli.measure.validating.diagnosis import find_label_orders, published_accuracy, remarks
from s2mlp_cli.measure.validating.plan import Plan, Settings
from s2mlp_cli.measure.validating.score import Scored, expected_calibration_error, real_score
from s2mlp_cli.measure.validating.table import ImageTable
from s2mlp_cli.records.validate import DataFacts, Failure, RealScore, Timing, ValidateResult
from s2mlp_cli.specs import S2MLPSpec
from s2mlp_cli.statistics import wilson

# The share of broken images above which a result is no result.
MAX_BROKEN = 0.01


def make_result(
    checkpoint: Checkpoint,
    plan: Plan,
    settings: Settings,
    table: ImageTable,
    timing: Timing,
    resumed: int,
    processes: int,
) -> ValidateResult:
    """Compute every score from the rows of ``table``, which ``processes`` have filled.

    An earlier run had scored ``resumed`` of the images; they are in no ``timing``.

    Raises:
        DataError: no image could be decoded.
    """
    scored = _scored(plan, table)
    outputs = checkpoint.spec.classes
    names = _class_names(plan, outputs)
    result = ValidateResult(
        model=checkpoint.spec.name,
        spec=checkpoint.spec.model_dump(mode="json"),
        ckpt=checkpoint.facts,
        data=_data_facts(plan, settings, table),
        preprocessing=plan.preprocessing,
        **_run_facts(settings),
        shift=settings.shift if isinstance(checkpoint.spec, S2MLPSpec) else None,
        processes=processes,
        **_scores(scored),
        resumed_images=resumed,
        images_per_s=timing.images_per_s,
        timing=timing,
        failures=_failures(plan, table),
        real=_real_score(plan, settings, table),
        per_class=scored.per_class(names) if settings.per_class else (),
        confusions=scored.confusions(names),
        label_orders=find_label_orders(scored, outputs, plan.images.devkit),
        published=published_accuracy(checkpoint.spec, checkpoint.facts.nearest),
    )
    return result.model_copy(update={"remarks": remarks(result)})


def _scored(plan: Plan, table: ImageTable) -> Scored:
    scored = Scored(table, plan.targets)
    if not len(scored):
        raise DataError(
            f"none of the {len(table)} images in {plan.images.path} could be decoded (the first: "
            f"{table.reasons[0]}); check the data"
        )
    return scored


def _run_facts(settings: Settings) -> dict[str, Any]:
    """Return the settings that a result carries under their own names."""
    names = ("device", "dtype", "batch_size", "workers", "compiled", "channels_last")
    return {name: getattr(settings, name) for name in names}


def _scores(scored: Scored) -> dict[str, Any]:
    """Return the scores of the whole set, by their names in the result."""
    images = len(scored)
    correct1, correct5 = int(scored.correct1.sum()), int(scored.correct5.sum())
    loss, loss_interval = scored.loss()
    calibration = scored.calibration()
    return {
        "images": images,
        "correct1": correct1,
        "correct5": correct5,
        "top1": correct1 / images,
        "top1_interval": wilson(correct1, images),
        "top5": correct5 / images,
        "top5_interval": wilson(correct5, images),
        "loss": loss,
        "loss_interval": loss_interval,
        "ece": expected_calibration_error(calibration),
        "calibration": calibration,
        "nonfinite": int((scored.top[:, 0] < 0).sum()),
    }


def _real_score(plan: Plan, settings: Settings, table: ImageTable) -> RealScore | None:
    if not settings.real:
        return None
    return real_score(table, [settings.real[position] for position in plan.positions])


def timing_of(parts: Sequence[tuple[float, float, int]]) -> Timing:
    """Return the time of the slowest process, and the images of all.

    Args:
        parts: (seconds, of which waiting for data, images) of each process.
    """
    seconds, data_s, _ = max(parts)
    images = sum(part[2] for part in parts)
    return Timing(
        seconds=seconds,
        data_s=data_s,
        model_s=seconds - data_s,
        images=images,
        images_per_s=images / seconds if seconds else 0.0,
    )


def _data_facts(plan: Plan, settings: Settings, table: ImageTable) -> DataFacts:
    labels = plan.images.labels
    assert labels is not None
    return DataFacts(
        path=plan.images.path,
        form=plan.images.form,
        labels=labels.origin,
        available=len(plan.images),
        images=len(plan.positions),
        classes=len(np.unique(plan.targets)),
        fingerprint=fingerprint(plan.names, table.size.tolist(), plan.targets),
        limit=settings.limit,
        seed=settings.seed if settings.limit is not None else None,
        stated=plan.images.stated,
    )


def _class_names(plan: Plan, outputs: int) -> dict[int, str]:
    """Return output -> the name that the data set gives to its class; empty if it has none."""
    labels = plan.images.labels
    if labels is None or labels.classes is None:
        return {}
    targets = labels.targets(outputs)
    first = {int(value): i for i, value in reversed(list(enumerate(labels.values)))}
    return {int(targets[i]): labels.classes[value] for value, i in first.items()}


def _failures(plan: Plan, table: ImageTable) -> tuple[Failure, ...]:
    return tuple(
        Failure(name=plan.images.names[plan.positions[row]], reason=reason)
        for row, reason in sorted(table.reasons.items())
    )


def check_broken(result: ValidateResult) -> None:
    """Hold that hardly any image was broken.

    Raises:
        DataError: more than 1 % were.
    """
    broken, asked = len(result.failures), result.data.images
    if broken > MAX_BROKEN * asked:
        raise DataError(
            f"{broken} of {asked} images are broken, more than {MAX_BROKEN:.0%} (the first: "
            f"{result.failures[0].name}); restore them, since this accuracy is not that of the set"
        )
