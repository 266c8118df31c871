"""Whether the tensors of a checkpoint are weights: plain, finite numbers, all of them there."""

from __future__ import annotations

import re

import torch
from torch import nn

from s2mlp_cli.checkpoints.refusals import most_bytes
from s2mlp_cli.checkpoints.state_dicts import State
from s2mlp_cli.errors import CheckpointError

_WEIGHTS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
# What buffers hold, such as the batches that a norm has seen. Copying any other kind of number into
# float32 parameters would pass in silence and give another model.
_COUNTS = frozenset({torch.int64, torch.int32, torch.bool})

_FLAT_PARAMETER = re.compile(r"(?:^|\.)_?flat_param(?:_\d+)?$")


def check_tensors(state: State, file_bytes: int) -> None:
    """Check that every tensor is plain, finite numbers, and that the file has room for them.

    Raises:
        CheckpointError: one is a placeholder, quantised, sparse, infinite, or a view that repeats
            values.
    """
    _check_placeholders(state)
    for name, tensor in state.items():
        if tensor.is_meta:
            raise CheckpointError(
                f"{name} is a meta tensor in the checkpoint: a shape without values; save the "
                "model after its weights were loaded"
            )
        is_plain = type(tensor) in (torch.Tensor, nn.Parameter, nn.Buffer)
        if not is_plain or tensor.layout != torch.strided or tensor.dtype not in _WEIGHTS | _COUNTS:
            kind = f"{tensor.dtype}, {tensor.layout}" if is_plain else type(tensor).__name__
            raise CheckpointError(
                f"{name} is not plain floating-point weights in the checkpoint ({kind}); save the "
                "model before it is quantised, made sparse or distributed"
            )
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if total > most_bytes(file_bytes):  # a view may repeat one value a billion times
        raise CheckpointError(
            f"its tensors have {total:,} bytes, and the file only {file_bytes:,}, so they are "
            "views of a few values; save the model with its own tensors"
        )
    bad = [n for n, t in state.items() if t.dtype in _WEIGHTS and not t.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"the checkpoint has NaN or infinite weights in {bad[0]}{more}, so its training "
            "diverged; give an earlier one"
        )


def _check_placeholders(state: State) -> None:
    flat = [name for name in state if _FLAT_PARAMETER.search(name)]
    if flat:
        raise CheckpointError(
            f"{len(flat)} of its {len(state)} tensors are flat parameters of FSDP (first "
            f"{flat[0]}): weights of many layers in one row, without their names, and of one "
            "process only; save get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True)) of "
            "torch.distributed.checkpoint.state_dict"
        )
    empty = [name for name, tensor in state.items() if tensor.shape == (0,)]
    if empty:
        raise CheckpointError(
            f"{len(empty)} of its {len(state)} tensors are empty (first {empty[0]}): placeholders, "
            "as DeepSpeed's ZeRO-3 leaves them where the values are in other files; make one file "
            "of them with the zero_to_fp32.py that DeepSpeed wrote beside it"
        )
