"""Small records of every kind, as the commands would write them."""

from datetime import datetime, timezone

from s2mlp_cli.compare import compare_records
from s2mlp_cli.records.audit import AuditRecord
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.count import CountRecord
from s2mlp_cli.records.export import ExportRecord
from s2mlp_cli.records.profile import ProfileRecord
from s2mlp_cli.records.trace import TraceRecord
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.records.verify import VerifyRecord

CREATED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)

ENVIRONMENT = Environment(
    s2mlp="0.1.0",
    python="3.11.8",
    platform="Linux-6.1-x86_64",
    cpu="A processor",
    cpu_count=2,
    packages={"torch": "2.11.0", "fvcore": "0.1.5"},
)


def frame(kind, *results, **more):
    """Return what all records share, around some results."""
    return {
        "schema": f"s2mlp.{kind}/1",
        "created": CREATED,
        "command": ("s2mlp", kind),
        "environment": ENVIRONMENT,
        "results": results,
        **more,
    }


def count(model="v2-small", params=25_000_000, **more):
    """Return one counted model of two stages."""
    modules = [
        ("", "S2MLP", params, 6_900_000_000),
        ("stages.0.patch", "Patch", 30_000, 30_000_000),
        ("stages.0.blocks.0", "Block", 4_970_000, 2_870_000_000),
        ("stages.0.blocks.0.mixer", "Mixer", 1_970_000, 870_000_000),
        ("stages.0.blocks.0.mlp", "MLP", 3_000_000, 2_000_000_000),
        ("stages.0.blocks.1", "Block", 19_000_000, 3_999_000_000),
        ("stages.0.blocks.1.mixer", "Mixer", 9_000_000, 1_999_000_000),
        ("stages.0.blocks.1.mlp", "MLP", 10_000_000, 2_000_000_000),
        ("head", "Linear", 1_000_000, 1_000_000),
    ]
    operators = [("linear", 9, 6_800_000_000, 0), ("gelu", 4, 0, 6_000_000)]
    result = {
        "model": model,
        "title": f"S2-MLP {model}",
        "family": "s2mlp",
        "spec": {},
        "input_size": (224, 224),
        "batch_size": 1,
        "shift": "slice",
        "params": params,
        "params_without_head": params - 1_000_000,
        "params_norm": 0,
        "macs": 6_900_000_000,
        "macs_matmul": 6_900_000_000,
        "macs_head": 1_000_000,
        "elementwise": 50_000_000,
        "activations": 17_000_000,
        "shift_cost": None,
        "crosscheck": {
            "fvcore": 6_900_000_000,
            "closed_form": 6_900_000_000,
            "flop_counter": 6_900_000_000,
        },
        "by_operator": [
            {"operator": name, "calls": calls, "macs": macs, "elementwise": single,
             "activations": 100}
            for name, calls, macs, single in operators
        ],
        "by_module": [
            {"module": name, "kind": kind, "params": own, "macs": macs, "elementwise": 0,
             "activations": 0}
            for name, kind, own, macs in modules
        ],
        "uncounted": (),
        **more,
    }  # fmt: skip
    return CountRecord.model_validate(frame("count", result))


def audit():
    """Return three cells with different verdicts."""
    cell = {"paper": "v1", "table": "3", "model": "v1-deep", "quantity": "params",
            "difference": 0.05}  # fmt: skip
    return AuditRecord.model_validate(
        frame(
            "audit",
            {**cell, "row": "wide", "model": "v1-wide", "printed": "71M", "computed": 71_430_000,
             "verdict": "agrees", "known": "agrees"},
            {**cell, "row": "deep", "printed": "51M", "computed": 53_480_000,
             "verdict": "agrees in binary units", "known": "agrees in binary units",
             "reason": "53.48M are 51.0 in units of 2^20"},
            {**cell, "row": "Small/14", "quantity": "flops", "printed": "5.7B",
             "computed": 6_860_000_000, "verdict": "differs", "known": "differs",
             "reason": "does not follow from the settings"},
        )
    )  # fmt: skip


def verify():
    """Return a right, a wrong and an idle implementation."""
    wrong = {
        "shape": (1, 14, 14, 8),
        "splits": [["right", "left"]],
        "dtype": "fp32",
        "layout": "contiguous",
        "forward": {"wrong": 60, "elements": 80, "max_error": 1.5},
    }
    row = {
        "summary": "", "subject": "shift", "safe": True, "device": "cpu", "seed": 0,
        "wrong_forward": 0.0, "wrong_gradient": 0.0, "max_error": 0.0, "skipped": {},
        "wrong_by_direction": {}, "cases": (),
    }  # fmt: skip
    return VerifyRecord.model_validate(
        frame(
            "verify",
            {**row, "implementation": "slice", "verdict": "right", "checks": 90, "failed": 0},
            {**row, "implementation": "inplace", "safe": False, "verdict": "wrong as known",
             "checks": 90, "failed": 44, "wrong_forward": 0.43, "cases": [wrong],
             "wrong_by_direction": {"right": 0.857}},
            {**row, "implementation": "triton", "verdict": "cannot run", "checks": 0, "failed": 0,
             "wrong_forward": None, "wrong_gradient": None, "max_error": None,
             "skipped": {"fp32": "needs a CUDA device"}},
        )
    )  # fmt: skip


SPEED = {"slice": 1.0, "conv": 0.62, "fused": 1.31, "none": 1.4}


def timed(shift, level, batch=8, slower=1.0):
    """Return one row of a profile; ``slower`` stretches the time of what is not a reference."""
    speed = SPEED[shift] / (1.0 if shift in ("slice", "none") else slower)
    median = {"op": 4e-4, "model": 0.025}[level] * batch / speed
    samples = [median * (1 + 0.002 * ((7 * number) % 5 - 2)) for number in range(20)]
    operation = level == "op"
    interval = (speed * 0.99, speed * 1.01)
    return {
        "model": "v2-small", "shift": shift, "level": level, "stage": 0 if operation else None,
        "device": "cpu", "dtype": "fp32", "batch_size": batch, "input_size": (224, 224),
        "shape": (batch, 32, 32, 192) if operation else (batch, 3, 224, 224), "threads": 2,
        "reference": "the model without its shifts" if shift == "none" else None,
        "samples_s": samples, "median_s": median,
        "ci95_s": (median * 0.998, median * 1.002),
        "images_per_s": None if operation else batch / median,
        "bytes_per_s": batch * 32 * 32 * 192 * 8 / median if operation else None,
        "ratio_to_slice": {"value": speed, "ci95": interval},
        "shift_share": {"value": 0.1}, "copy_fraction": 0.3 if operation else None,
        "memory": {"peak_rss_bytes": int((400 + 20 * batch) * 2**20)},
    }  # fmt: skip


def profile(slower=1.0, batches=(1, 8)):
    """Return four implementations at two levels and some batch sizes, and one skipped."""
    rows = [
        timed(shift, level, batch, slower)
        for batch in batches
        for level in ("op", "model")
        for shift in SPEED
    ]
    skipped = {
        **{key: timed("slice", "model")[key] for key in
           ("model", "level", "stage", "device", "dtype", "batch_size", "input_size")},
        "shift": "inplace", "skipped": "wrong by 0.86: it is no shift",
    }  # fmt: skip
    return ProfileRecord.model_validate(
        frame(
            "profile",
            *rows,
            skipped,
            settings={"seed": 0, "min_time_s": 1, "max_time_s": 10},
            limits=[{"device": "cpu", "dtype": "fp32", "copy_bytes_per_s": 9e9,
                     "matmul_flops_per_s": 1.2e11}],
        )
    )  # fmt: skip


def trace():
    """Return one traced run with all views."""
    host = {"calls": 4, "host_s": 0.02, "host_self_s": 0.01}
    return TraceRecord.model_validate(
        frame(
            "trace",
            {
                "run": "v2-small", "file": "v2-small.pt.trace.json", "steps": 3, "step_s": 0.2,
                "shift_share": 0.12,
                "scopes": [
                    {"name": "stage", "calls": 2, "seconds": 0.18, "share": 0.9},
                    {"name": "mixer", "calls": 18, "seconds": 0.08, "share": 0.4},
                    {"name": "shift", "calls": 18, "seconds": 0.024, "share": 0.12},
                ],
                "operators": [{"name": "aten::addmm", **host}],
                "kernels": [{"name": "gemm", "calls": 4, "total_s": 4e-3, "mean_s": 1e-3}],
                "modules": [{"name": "Block", "depth": 1, **host}],
                "memory": [{"device": "CPU", "name": "aten::add", "calls": 3, "allocations": 3,
                            "allocated_bytes": 4e6, "self_allocated_bytes": 4e6}],
                "recommendations": ["Use a larger batch."],
            },
        )
    )  # fmt: skip


def validate(correct1=270, classes=10):
    """Return the validation of 300 images."""
    per_class = [
        {"label": label, "name": f"digit {label}", "images": 30, "correct1": 30 - label,
         "correct5": 30}
        for label in range(classes)
    ]  # fmt: skip
    low, high = correct1 / 300 - 0.03, correct1 / 300 + 0.03
    return ValidateRecord.model_validate(
        frame(
            "validate",
            {
                "model": "digits", "spec": {}, "shift": "slice", "device": "cpu", "dtype": "fp32",
                "ckpt": {"path": "digits.safetensors", "sha256": "ab" * 32, "bytes": 1000,
                         "form": "safetensors", "taken": "all", "layout": "s2mlp"},
                "data": {"path": "digits.tar", "form": "a tar of class folders",
                         "labels": "the folders", "available": 300, "images": 300, "classes": 10,
                         "fingerprint": "cd" * 32},
                "preprocessing": {}, "batch_size": 32, "workers": 0, "processes": 1,
                "compiled": False, "channels_last": False, "images": 300, "correct1": correct1,
                "correct5": 299, "top1": correct1 / 300, "top1_interval": (low, high),
                "top5": 299 / 300, "top5_interval": (0.98, 1.0), "loss": 0.31,
                "loss_interval": (0.25, 0.37), "ece": 0.021,
                "calibration": [{"low": 0.9, "high": 1.0, "images": 300, "correct1": correct1,
                                 "confidence": 0.93}],
                "nonfinite": 0, "resumed_images": 0, "images_per_s": 512.0,
                "timing": {"seconds": 0.6, "data_s": 0.2, "model_s": 0.4, "images": 300,
                           "images_per_s": 512.0},
                "failures": [{"name": "3/broken.png", "reason": "cut off"}],
                "per_class": per_class,
                "confusions": [{"label": 9, "predicted": 4, "label_name": "nine",
                                "predicted_name": "four", "images": 6}],
            },
        )
    )  # fmt: skip


def export():
    """Return one exported file with its proof on random images and on the digits."""
    proof = {"runtime": "onnxruntime", "batch_size": 8, "count": 64, "largest_error": 2e-5,
             "relative_error": 3e-6, "spread": 0.8}  # fmt: skip
    return ExportRecord.model_validate(
        frame(
            "export",
            {
                "model": "digits",
                "source": {"kind": "checkpoint", "name": "digits", "path": "digits.safetensors",
                           "sha256": "ab" * 32},
                "format": "onnx", "precision": "fp32", "path": "digits.onnx", "shift": "slice",
                "image": (3, 16, 16), "classes": 10, "batch_size": None, "opset": 20,
                "bytes": 120_000, "sha256": "cd" * 32, "weights_sha256": "ef" * 32,
                "nodes": {"MatMul": 12, "Add": 30}, "seconds": 2.5, "allowed": 1e-4,
                "proofs": [{**proof, "images": "random"},
                           {**proof, "images": "sample", "same_top1": 64}],
            },
            versions={"onnx": "1.19.0"},
        )
    )  # fmt: skip


def compare():
    """Return two profiles, the second of which is slower, compared with a gate."""
    return compare_records(["before.json", "after.json"], [profile(), profile(1.1)], 0.05)


ALL = {
    "count": count,
    "audit": audit,
    "verify": verify,
    "profile": profile,
    "trace": trace,
    "validate": validate,
    "export": export,
    "compare": compare,
}
