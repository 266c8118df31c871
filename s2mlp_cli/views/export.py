"""``export``: files for other runtimes, with the proof that each computes the same."""

from __future__ import annotations

from s2mlp_cli.records.export import ExportRecord, ExportResult
from s2mlp_cli.views.document import Column, KeyFigure, Number, Sheet, Table, View, listed


def view(record: ExportRecord) -> View:
    """Return the view; what is inside the files is listed by operator."""
    return View(
        title="Exported: " + listed((result.path for result in record.results), "files"),
        answers=tuple(map(_answer, record.results)) or ("No file was exported.",),
        key_figures=lambda: [
            KeyFigure("File", _mebibytes(result.bytes), result.path) for result in record.results
        ],
        tables=(_files(record), _proofs(record)),
        details=lambda: [_operators(record)],
        remarks=tuple(dict.fromkeys(note for result in record.results for note in result.notes)),
        facts={
            "Weights (sha256)": listed((r.weights_sha256 for r in record.results), "state dicts"),
            "Runtimes": ", ".join(f"{name} {of}" for name, of in record.versions.items()),
        },
    )


def _answer(result: ExportResult) -> str:
    largest, relative = _largest_errors(result)
    images = sum(proof.count for proof in result.proofs)
    runtime = ", ".join(dict.fromkeys(proof.runtime for proof in result.proofs))
    sentence = (
        f"{result.path}: {_how(result)}, {_mebibytes(result.bytes)}; {runtime} differs from "
        f"eager float32 by at most {largest:.2g}, and by at most {relative:.1g} of the largest "
        f"logit, on {images} images"
    )
    judged = [proof for proof in result.proofs if proof.same_top1 is not None]
    if judged:
        same, of = sum(p.same_top1 or 0 for p in judged), sum(p.count for p in judged)
        sentence += f", with the same top-1 on {same} of {of}"
    return f"{sentence}."


def _largest_errors(result: ExportResult) -> tuple[float, float]:
    """Return the largest error and the largest relative one, which may be of different images."""
    return (
        max(proof.largest_error for proof in result.proofs),
        max(proof.relative_error for proof in result.proofs),
    )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _how(result: ExportResult) -> str:
    form = f" ({result.form} form)" if result.form else ""
    words = [result.model, result.precision, *([result.shift + form] if result.shift else [])]
    if result.calibration:
        words.append(f"calibrated on {result.calibration} images")
    elif result.precision == "int8":
        words.append("dynamic")
    batch = f"batch {result.batch_size}" if result.batch_size else "any batch"
    return ", ".join([*words, batch])


def _files(record: ExportRecord) -> Table:
    return Table(
        caption="Files",
        columns=(
            Column("File"),
            Column("Model", common="{}"),
            Column("Shift", common="shift {}"),
            Column("Format", common="{}"),
            Column("Precision", common="{}"),
            Column("Opset", common="opset {}", numeric=True),
            Column("Images", common="images of {}"),
            Column("Batch", common="batch {}"),
            Number("Size", unit="MiB", scale=2**20),
            Column("Nodes", numeric=True),
            Column("In integers", numeric=True),
            Number("Exported in", unit="s", digits=3),
        ),
        rows=tuple(
            (
                result.path, result.model, result.shift, result.format, result.precision,
                result.opset, "×".join(map(str, result.image)), result.batch_size or "any",
                result.bytes, sum(result.nodes.values()), len(result.quantised) or None,
                result.seconds,
            )
            for result in record.results
        ),
    )  # fmt: skip


def _proofs(record: ExportRecord) -> Table:
    return Table(
        caption="Compared with eager float32",
        columns=(
            Column("File", heading=True),
            Column("Images"),
            Column("Number", numeric=True),
            Column("Batch", numeric=True),
            Column("Runtime", common="in {}"),
            Column("Largest error", "{:.2g}".format, numeric=True),
            Column("Relative", "{:.2g}".format, numeric=True),
            Column("Allowed", "{:.2g}".format, numeric=True),
            Column("Spread of logits", "{:.2g}".format, numeric=True),
            Column("Same top-1", numeric=True),
        ),
        rows=tuple(
            (
                result.path, proof.images, proof.count, proof.batch_size, proof.runtime,
                proof.largest_error, proof.relative_error, result.allowed, proof.spread,
                proof.same_top1,
            )
            for result in record.results
            for proof in result.proofs
        ),
        note="The spread is the standard deviation of a logit between images. An error must be "
        "small beside it, or agreement says nothing.",
    )  # fmt: skip


def _operators(record: ExportRecord) -> Table:
    return Table(
        caption="Nodes by operator",
        columns=(Column("File", heading=True), Column("Operator"), Column("Nodes", numeric=True)),
        rows=tuple(
            (result.path, name, count)
            for result in record.results
            for name, count in result.nodes.items()
        ),
    )


_SHEET = (
    "path", "model", "format", "precision", "shift", "batch_size", "classes", "opset", "bytes",
    "sha256", "weights_sha256", "calibration", "seconds", "allowed", "form",
)  # fmt: skip


def sheet(record: ExportRecord) -> Sheet:
    """Return one row for each file."""
    rows = tuple(
        (
            *(getattr(each, name) for name in _SHEET), sum(each.nodes.values()),
            len(each.quantised), *_largest_errors(each),
        )
        for each in record.results
    )  # fmt: skip
    return Sheet((*_SHEET, "nodes", "quantised", "largest_error", "relative_error"), rows)
