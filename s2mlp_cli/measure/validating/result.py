"""From the finished table of a run to its result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from s2mlp_cli.data.subset import fingerprint
from s2mlp_cli.errors import DataError
from s2mlp_cli.measure.torch_support import DTYPES
from s2mlp_cli.measure.validating.diagnosis import (
    find_label_orders,
    published_accuracy,
    remarks,
    surest_mistakes,
)
from s2mlp_cli.measure.validating.plan import Plan
from s2mlp_cli.measure.validating.score import Scored, expected_calibration_error, real_score
from s2mlp_cli.measure.validating.table import ImageTable
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.validate import DataFacts, Failure, Timing, ValidateResult
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import S2MLPSpec
from s2mlp_cli.statistics import wilson

# If a larger fraction of the images is broken, the accuracy is not that of the set.
MAX_BROKEN = 0.01


def make_result(
    plan: Plan, table: ImageTable, resumed: int, times: Sequence[tuple[float, float, int]]
) -> ValidateResult:
    """Compute every score from the rows of ``table``.

    Args:
        plan: what was run.
        table: what was found for each image.
        resumed: images that an earlier run scored.
        times: (seconds, of which waiting for data, images) of each process of this run; the
            slowest is the time of all.

    Raises:
        DataError: no image could be decoded.
    """
    scored = Scored(table, plan.targets)
    images = len(scored)
    if not images:
        raise DataError(
            f"none of the {len(table)} images in {plan.images.path} could be decoded (the first: "
            f"{table.reasons[0]}); check the data"
        )
    settings, model = plan.settings, plan.model
    correct1, correct5 = int(scored.correct1.sum()), int(scored.correct5.sum())
    loss, loss_interval = scored.loss()
    calibration = scored.calibration()
    seconds, data_s, _ = max(times)
    timed = sum(images for *_, images in times)
    images_per_s = timed / seconds if seconds else 0.0
    names = _class_names(plan)
    has_shift = isinstance(model.spec, S2MLPSpec) and model.session is None
    shift = settings.shift if has_shift else None
    place, dtype = torch.device(settings.device), DTYPES[settings.dtype]
    result = ValidateResult(
        model=model.name,
        spec=model.described,
        ckpt=model.facts,
        data=_data_facts(plan, table),
        preprocessing=plan.preprocessing,
        shift=shift,
        form=registry.form(shift, place, dtype, settings.compiled),
        device=settings.device,
        dtype=model.session.precision if model.session else settings.dtype,
        batch_size=settings.batch_size,
        workers=settings.workers,
        processes=len(times),
        compiled=settings.compiled,
        channels_last=settings.channels_last,
        images=images,
        correct1=correct1,
        correct5=correct5,
        top1=correct1 / images,
        top1_interval=wilson(correct1, images),
        top5=correct5 / images,
        top5_interval=wilson(correct5, images),
        loss=loss,
        loss_interval=loss_interval,
        ece=expected_calibration_error(calibration),
        calibration=calibration,
        nonfinite=int((scored.top[:, 0] < 0).sum()),
        resumed_images=resumed,
        images_per_s=images_per_s,
        timing=Timing(
            seconds=seconds,
            data_s=data_s,
            model_s=seconds - data_s,
            images=timed,
            images_per_s=images_per_s,
        ),
        failures=tuple(
            Failure(name=plan.names[row], reason=reason)
            for row, reason in sorted(table.reasons.items())
        ),
        real=real_score(table, [settings.real[position] for position in plan.positions])
        if settings.real
        else None,
        per_class=scored.per_class(names) if settings.per_class else (),
        confusions=scored.confusions(names),
        label_orders=find_label_orders(scored, model.classes, plan.images.devkit),
        published=published_accuracy(model.spec, model.facts.nearest) if model.spec else None,
        mistakes=surest_mistakes(plan, table, names, settings.keep_mistakes),
        source=model.source,
        runtime=model.session.runtime if model.session else "torch",
        runtime_version=model.session.version if model.session else torch.__version__,
    )
    assumed = model.assumes if plan.preprocessing == model.preprocessing else None
    return changed(result, remarks=tuple(remarks(result, assumed)))


def check_broken(result: ValidateResult) -> None:
    """Check that nearly all images could be decoded.

    Raises:
        DataError: more than 1 % could not.
    """
    broken, chosen = len(result.failures), result.data.images
    if broken > MAX_BROKEN * chosen:
        raise DataError(
            f"{broken} of {chosen} images cannot be decoded, more than {MAX_BROKEN:.0%} (the "
            f"first: {result.failures[0].name}: {result.failures[0].reason}), so this is not the "
            "accuracy on the set; replace them"
        )


def _data_facts(plan: Plan, table: ImageTable) -> DataFacts:
    images, settings = plan.images, plan.settings
    assert images.labels is not None
    return DataFacts(
        path=images.path,
        form=images.form,
        labels=images.labels.origin,
        available=len(images),
        images=len(plan),
        classes=len(np.unique(plan.targets)),
        fingerprint=fingerprint(plan.names, table.size.tolist(), plan.targets),
        limit=settings.limit,
        seed=settings.seed if settings.limit is not None else None,
        stated=images.notes,
    )


def _class_names(plan: Plan) -> dict[int, str]:
    """Return output -> the name that the data set gives to its class; empty if it has none."""
    labels = plan.images.labels
    if labels is None or labels.classes is None:
        return {}
    return dict(zip(labels.targets(plan.model.classes).tolist(), labels.named(), strict=True))
