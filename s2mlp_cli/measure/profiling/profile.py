"""``profile`` from Python: one model on one device, as a record."""

from __future__ import annotations

from s2mlp_cli.measure.environment import environment
from s2mlp_cli.measure.profiling.cases import DEFAULT_BATCH, LEVELS, Request
from s2mlp_cli.measure.profiling.device import open_device
from s2mlp_cli.measure.profiling.profiler import Profiler
from s2mlp_cli.records.profile import Level, Mode, ProfileRecord, ProfileSettings
from s2mlp_cli.specs import ModelSpec


def profile(
    spec: ModelSpec,
    shifts: tuple[str, ...] = (),
    *,
    device: str | None = None,
    dtype: str = "fp32",
    batch_size: int | None = None,
    levels: tuple[Level, ...] = LEVELS,
    mode: Mode = "inference",
    threads: int | None = None,
    min_time_s: float = 0.5,
    max_time_s: float = 3.0,
    seed: int = 0,
) -> ProfileRecord:
    """Time implementations of the shift in ``spec``, from Python: what ``s2mlp profile`` does.

    On a CPU, memory is measured in child processes: a script should call this under
    ``if __name__ == "__main__":``, as with everything that uses multiprocessing.

    Args:
        spec: what :func:`s2mlp_cli.specs.load_spec` returned.
        shifts: names; ``slice`` and ``none`` are measured beside them.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None is the GPU if there is one.
        dtype: fp32, tf32, bf16 or fp16.
        batch_size: images; None is 1 on a CPU and 64 on a GPU.
        levels: of op, block and model.
        mode: inference or training.
        threads: of the CPU; None is all cores.
        min_time_s: seconds per row that are spent at least.
        max_time_s: seconds per row that are spent at most.
        seed: of the order in the rounds.

    Raises:
        UnavailableError: no such device or implementation, or the device lacks the dtype.
    """
    place = open_device(device)
    here = environment()
    default_batch = DEFAULT_BATCH[place.torch_device.type]
    request = Request(
        specs=(spec,),
        shifts=shifts,
        levels=levels,
        dtypes=(dtype,),
        batch_sizes=(default_batch if batch_size is None else batch_size,),
        mode=mode,
        threads=here.cpu_count if threads is None else threads,
    )
    settings = ProfileSettings(seed=seed, min_time_s=min_time_s, max_time_s=max_time_s)
    return Profiler(request, settings, place, here, command=("profile",)).run()
