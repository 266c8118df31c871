"""Which implementations export, and do the files compute the same? Or why not, as a table.

    python benchmarks/exports.py -o reports/benchmarks/exports.json

Every implementation of the shift in v1-wide, v2-small and v2-medium, and three models without
shifts, as ONNX and as .pt2: each is exported by ``s2mlp export`` in a process of its own, which
proves the file before it keeps it. Unsafe implementations are tried as well: their files must be
refused. Up to a minute each; an hour on two cores.

The JSON file and the Markdown beside it are written after each export. Ctrl-C stops at once; the
same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from s2mlp_cli.files import write_atomically
from s2mlp_cli.measure.environment import environment
from s2mlp_cli.records.export import ExportRecord
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.shifts import registry

SHIFTED = ("v2-small", "v1-wide", "v2-medium")
OTHERS = ("vip-small", "gfnet-s", "mixer-b16")
FORMATS = ("onnx", "pt2")
NO_SHIFT = "no shift"

Row = dict[str, Any]


def wanted() -> list[tuple[str, str, str]]:
    """Return (model, shift, format) of every export."""
    pairs = [(model, shift) for model in SHIFTED for shift in registry.NAMES]
    pairs = [*((model, NO_SHIFT) for model in OTHERS), *pairs]
    return [(*pair, format_) for format_ in FORMATS for pair in pairs]


def exported(model: str, shift: str, format_: str, threads: int) -> Row:
    """Export one model in a process of its own; return what its record says, or why there is none.

    The process has a session of its own: Ctrl-C is for this program, which then kills it.
    """
    row: Row = {"model": model, "shift": shift, "format": format_}
    with tempfile.TemporaryDirectory() as folder:
        file, record = Path(folder, f"{model}.{format_}"), Path(folder, "record.json")
        words = [sys.executable, "-m", "s2mlp_cli", "export", "--model", model]
        words += [] if shift == NO_SHIFT else ["--shift", shift]
        words += ["-o", str(file), "--record", str(record), "--threads", str(threads)]
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "COLUMNS": "4000"},
        ) as child:  # fmt: skip
            try:
                said = child.communicate()[1]
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
        if child.returncode == 0:
            return row | facts(record)
        # 1: it cannot be exported; 3: the file was not kept. Anything else is a bug of ours.
        if child.returncode not in (1, 3):
            raise SystemExit(f"{' '.join(words)} ended with {child.returncode}:\n{said}")
        sentence = said.strip().splitlines()[-1].replace(str(file), file.name)
        return row | {"kept": False, "reason": sentence.removeprefix("error: ")}


def facts(path: Path) -> Row:
    """Return what a row says of a file that was kept."""
    record = read_record(path)
    assert isinstance(record, ExportRecord)
    (result,) = record.results
    return {
        "kept": True,
        "nodes": sum(result.nodes.values()),
        "bytes": result.bytes,
        "seconds": round(result.seconds, 1),
        "batch_size": result.batch_size,
        "relative_error": max(proof.relative_error for proof in result.proofs),
    }


def markdown(rows: list[Row]) -> str:
    """Return a table per format, and the reasons below each."""
    parts = [
        "# What exports, and agrees",
        "Made by `python benchmarks/exports.py -o reports/benchmarks/exports.json`. Each file has "
        "an open batch and was run on random images at two batch sizes (onnxruntime, or torch for "
        ".pt2). A cell is the number of nodes and the largest difference from eager float32, "
        "relative to the largest logit. 1e-04 is allowed, or more where rounding explains it: "
        "eight times what eager float32 is off float64, and never more than 1e-02.",
    ]
    left = len(wanted()) - len(rows)
    if left:
        parts.append(f"{left} of {len(wanted())} exports are not made yet: their cells are blank.")
    for format_ in FORMATS:
        own = [row for row in rows if row["format"] == format_]
        if own:
            parts += [f"## .{format_}", grid(own), reasons(own)]
    return "\n\n".join(part for part in parts if part) + "\n"


def grid(rows: list[Row]) -> str:
    """Return implementations by models."""
    models = [model for model in (*SHIFTED, *OTHERS) if any(r["model"] == model for r in rows)]
    cells = {(row["model"], row["shift"]): cell(row) for row in rows}
    shifts = [name for name in (*registry.NAMES, NO_SHIFT) if any(r["shift"] == name for r in rows)]
    lines = [["shift", *models], ["---"] * (1 + len(models))]
    lines += [[shift, *(cells.get((model, shift), "") for model in models)] for shift in shifts]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(row: Row) -> str:
    """Return one cell."""
    return f"{row['nodes']:,}, {row['relative_error']:.0e}" if row["kept"] else "no"


def reasons(rows: list[Row]) -> str:
    """Return why there is no file, each reason once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if not row["kept"]:
            found.setdefault(f"{row['shift']}: {row['reason']}", []).append(row["model"])
    return "\n".join(f"- {why} ({', '.join(models)})" for why, models in found.items())


def main() -> None:
    """Export what the file lacks, and save after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the proofs")
    given = parser.parse_args()
    document: dict[str, Any] = {"rows": []}
    if given.output.exists():
        document = json.loads(given.output.read_text(encoding="utf-8"))
    document["environment"] = environment().model_dump(mode="json")
    done = {(row["model"], row["shift"], row["format"]) for row in document["rows"]}
    missing = [each for each in wanted() if each not in done]
    for number, each in enumerate(missing, 1):
        print(f"{number} of {len(missing)}: {', '.join(each)}", file=sys.stderr, flush=True)
        row = exported(*each, given.threads)
        print(f"  {cell(row)} {row.get('reason', '')}", file=sys.stderr, flush=True)
        document["rows"].append(row)
        write_atomically(given.output, json.dumps(document, indent=1) + "\n")
        write_atomically(given.output.with_suffix(".md"), markdown(document["rows"]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None
