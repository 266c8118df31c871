"""The model that a user gave, from wherever: a spec, a checkpoint, Python code or an exported file.

:func:`open_model` is the one door. Importing this module imports no torch; opening a spec neither.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2mlp_cli.errors import ExportError, S2MLPError, SpecError, UserCodeError
from s2mlp_cli.measure.settings import code_arguments
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import ModelSpec, TimmSpec, load_spec, with_input_size
from s2mlp_cli.specs.model import MAX_PIXELS
from s2mlp_cli.user_code import (
    UserCode,
    imported_files,
    load_code,
    names_code,
    require_imported,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from s2mlp_cli.checkpoints.loading import Checkpoint
    from s2mlp_cli.runtimes.facts import Facts

# Endings of files that hold weights; what is in such a file is told by its first bytes.
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar", ".pkl", ".th")
EXPORTED = (".onnx", ".pt2")

# Where Python code does not say it.
DEFAULT_SIZE = (224, 224)
DEFAULT_CHANNELS = 3


@dataclass(frozen=True)
class GivenModel:
    """A model that can be built: what :func:`open_model` returns.

    Attributes:
        source: where it came from, for records; :func:`reopen` takes it back.
        input_size: (height, width) of its images.
        in_channels: of its images.
        spec: its spec; None where there is only code.
        notes: what was assumed or left out when it was opened, in sentences.
        path: the Python file of its code, if it has one.
    """

    source: ModelSource
    input_size: tuple[int, int]
    in_channels: int
    spec: ModelSpec | None = None
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    path: Path | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.source.name

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as what it came from, and be opened again there."""
        return reopen, (self.source, self.spec, self.input_size, self.in_channels)

    @property
    def is_own(self) -> bool:
        """Whether the code of its forward pass is this project's."""
        return self.spec is not None and not isinstance(self.spec, TimmSpec)

    @property
    def native_size(self) -> tuple[int, int] | None:
        """The size that timm's model was made for."""
        from s2mlp_cli.specs.timm_names import timm_config

        if not isinstance(self.spec, TimmSpec):
            return None
        height, width = timm_config(self.spec.timm).input_size[1:]
        return height, width

    def running(self) -> AbstractContextManager[object]:
        """Run its forward pass inside this: what code of the user prints goes to stderr."""
        return redirect_stdout(sys.stderr)

    def at(self, input_size: tuple[int, int]) -> GivenModel:
        """Return the model for images of another size.

        Raises:
            S2MLPError: it does not support that size.
        """
        if input_size == self.input_size:
            return self
        return reopen(self.source, self.spec, input_size, self.in_channels)

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        """Build the module in evaluation mode, with its weights wherever it has some.

        Args:
            shift: the implementation of the spatial shift; None is the model's own, or the default.
            device: ``"meta"`` builds shapes without weights.

        Raises:
            UnavailableError: no such implementation, or it cannot run there.
            UserCodeError: the user's code fails, or returns something that is not a module.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SpecModel(GivenModel):
    """A built-in name, a YAML file or a timm model, with random weights."""

    spec: ModelSpec

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        from s2mlp_cli.models import build_model

        return build_model(self.spec, shift or registry.DEFAULT, device)


@dataclass(frozen=True)
class CheckpointModel(SpecModel):
    """A file of weights whose architecture was read off it, or named."""

    checkpoint: Checkpoint = field(kw_only=True)

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        if str(device) == "meta":
            return super().build(shift, device)
        return self.checkpoint.build(shift or registry.DEFAULT, device)


@dataclass(frozen=True)
class PythonModel(GivenModel):
    """A function or class of a Python file, called with ``source.arguments``."""

    code: UserCode = field(kw_only=True)
    weights: Mapping[str, torch.Tensor] | None = None

    def at(self, input_size: tuple[int, int]) -> GivenModel:
        return replace(self, input_size=input_size)

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        import copy

        import torch
        from torch import nn

        on_meta = str(device) == "meta"
        if isinstance(self.code.value, nn.Module):
            module: Any = copy.deepcopy(self.code.value)
        else:
            with torch.device("meta" if on_meta else "cpu"):
                module = self.code.call(**self.source.arguments)
        if not isinstance(module, nn.Module):
            raise UserCodeError(
                f"{self.name} returns a {type(module).__name__}; name a function or class that "
                "returns a torch.nn.Module"
            )
        if self.weights is not None and not on_meta:
            module.load_state_dict(self.weights)
        return _with_shift(module.to(device).eval(), shift)


@dataclass(frozen=True)
class ModuleModel(GivenModel):
    """A module that a Python program passed; each build is a copy."""

    module: nn.Module = field(kw_only=True)

    def at(self, input_size: tuple[int, int]) -> GivenModel:
        return replace(self, input_size=input_size)

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        import copy
        import itertools

        import torch
        from torch import nn
        from torch.nn.parameter import is_lazy

        on_meta = str(device) == "meta"
        memo: dict[int, Any] = {}
        for part in self.module.modules():
            for tensor in vars(part).values():  # the weights that an old weight_norm computes
                if isinstance(tensor, torch.Tensor):
                    memo[id(tensor)] = tensor.detach().to("meta" if on_meta else tensor.device)
        if on_meta:  # a copy of the weights would need as much memory again
            for tensor in itertools.chain(self.module.parameters(), self.module.buffers()):
                if not is_lazy(tensor):
                    shape = tensor.detach().to("meta")
                    is_parameter = isinstance(tensor, nn.Parameter)
                    memo[id(tensor)] = nn.Parameter(shape, False) if is_parameter else shape
        return _with_shift(copy.deepcopy(self.module, memo).to(device).eval(), shift)


@dataclass(frozen=True)
class ExportedModel(GivenModel):
    """An exported file, which a runtime runs as it is (:mod:`s2mlp_cli.runtimes.sessions`).

    ``facts`` are what the file says of itself, its metadata among them; ``sized`` whether the file
    or the user says how large its images are.
    """

    facts: Facts = field(kw_only=True)
    sized: bool = field(default=True, kw_only=True)

    def at(self, input_size: tuple[int, int]) -> GivenModel:
        return reopen(self.source, self.spec, input_size, self.in_channels)

    def require_size(self) -> None:
        """Ask for the size of the images that a file leaves open.

        Raises:
            ExportError: nobody says it.
        """
        if not self.sized:
            raise ExportError(
                f"{self.source.path} takes images of several sizes; choose one with --input-size"
            )

    @property
    def is_program(self) -> bool:
        """Whether it is a .pt2, which torch runs."""
        return Path(self.source.path or "").suffix == ".pt2"

    def build(self, shift: str | None = None, device: torch.device | str = "cpu") -> nn.Module:
        path = Path(self.source.path or "")
        if not self.is_program:
            raise ExportError(
                f"{path} is an exported file, not a model in PyTorch; give the checkpoint or the "
                "spec that it was exported from"
            )
        from s2mlp_cli.runtimes.pt2_file import load_pt2

        return load_pt2(path)[0].to(device)


def open_model(
    model: str | None,
    ckpt: str | Path | None = None,
    *,
    overrides: tuple[str, ...] = (),
    input_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    averaged: bool = False,
    weights: str | None = None,
) -> GivenModel:
    """Open the model that a user named.

    Args:
        model: a built-in name, a YAML file, ``timm:NAME``, ``net.py:build``,
            ``package.module:Name``, a checkpoint or an exported file.
        ckpt: a checkpoint; the model is then its architecture, or None to read that off it.
        overrides: ``key=value`` texts: keys of a spec, or arguments of Python code, read as YAML.
        input_size: (height, width), if not the model's own; 224x224 for Python code.
        in_channels: of the images, if not the model's own; 3 for Python code.
        averaged: take the averaged (EMA) weights of a checkpoint.
        weights: the key or prefix of the weights to take, in a checkpoint that has several.

    Raises:
        S2MLPError: a file that cannot be read, a name that is not there, code that fails, or
            weights that do not fit.
    """
    if ckpt is None and model is not None and _names_weights(model):
        model, ckpt = None, model
    if ckpt is not None and _ends(ckpt, EXPORTED):
        if model or overrides or in_channels or averaged or weights:
            raise ExportError(
                f"{ckpt} is an exported file with its model and weights; leave out --model, --set, "
                "--in-channels, --ema and --weights"
            )
        return _exported(Path(ckpt), input_size)
    if model is not None and model.endswith(".py"):
        raise UserCodeError(
            f"{model} is a file of Python code; name the function or class in it: {model}:NAME"
        )
    if ckpt is None and (averaged or weights):
        option = "--ema" if averaged else "--weights"
        raise SpecError(
            f"{option} chooses among the weights of a checkpoint, and none was given for "
            f"{model or 'the model'}; add --ckpt FILE, or leave out {option}"
        )
    if model is not None and names_code(model):
        return _python(model, ckpt, overrides, input_size, in_channels, averaged, weights)
    if in_channels is not None and model is not None:
        overrides = (*overrides, f"in_channels={in_channels}")
    spec = load_spec(model, overrides) if model is not None else None
    if ckpt is not None:
        if spec is None and overrides:
            raise SpecError(f"--set changes a spec, and {ckpt} brings its own; add --model NAME")
        opened = _checkpoint(ckpt, spec, input_size, averaged, weights)
        if in_channels not in (None, opened.in_channels):
            raise SpecError(
                f"--in-channels {in_channels}: {ckpt} has weights for images of "
                f"{opened.in_channels} channels; leave out --in-channels"
            )
        return opened
    if spec is None:
        raise SpecError("no model was named; use --model NAME (`s2mlp models` lists them)")
    given = spec_model(spec, model)
    return given if input_size is None else given.at(input_size)


def open_models(
    named: Sequence[str],
    models: Sequence[str],
    ckpts: Sequence[str],
    *,
    overrides: Mapping[str, tuple[str, ...]] = {},
    in_channels: int | None = None,
    averaged: bool = False,
    weights: str | None = None,
) -> list[GivenModel]:
    """Open several models; a checkpoint's architecture is the only one of ``models``, if any.

    ``overrides`` are those of each, by its name (:func:`s2mlp_cli.measure.settings.share_out`).
    Models of equal names that come from several files are called by their paths.
    """
    alone = [*named, *(models if not ckpts else ())]
    pairs: list[tuple[str | None, str | None]] = [(name, None) for name in alone]
    pairs += [(next(iter(models), None), ckpt) for ckpt in ckpts]
    given = [
        open_model(
            model, ckpt, overrides=overrides.get(model or ckpt or "", ()),
            in_channels=in_channels, averaged=averaged, weights=weights,
        )
        for model, ckpt in pairs
    ]  # fmt: skip
    paths: dict[str, set[str | None]] = {}
    for each in given:
        paths.setdefault(each.name, set()).add(each.source.path)
    return [
        each
        if len(paths[each.name]) == 1 or each.source.path is None
        else replace(each, source=changed(each.source, name=each.source.path))
        for each in given
    ]


def reopen(
    source: ModelSource,
    spec: ModelSpec | None,
    input_size: tuple[int, int] | None = None,
    in_channels: int = DEFAULT_CHANNELS,
) -> GivenModel:
    """Open a model again: in another process, for an earlier record, or at another size.

    Raises:
        S2MLPError: its file is gone or has changed since, or it does not support the size.
    """
    path = source.path or ""
    again: GivenModel
    if source.kind == "python":
        code = load_code(path, source.sha256)
        require_imported(code.path, source.imports)
        return _python_model(source, code, input_size or DEFAULT_SIZE, in_channels)
    if source.kind == "checkpoint":
        again = _checkpoint(path, spec, input_size, source.averaged, source.key)
    elif source.kind == "exported":
        again = _exported(Path(path), input_size)
    elif spec is not None:
        again = spec_model(with_input_size(spec, input_size or spec.input_size))
    else:
        raise UserCodeError(f"{source.name} was passed by a Python program; run that again")
    _check_same(again.source.sha256, source.sha256, path)
    return replace(again, source=source)  # it may have another name


def spec_model(spec: ModelSpec, path: str | None = None) -> SpecModel:
    """Return the model of a spec."""
    source = ModelSource(kind="spec", name=spec.name, path=path)
    return SpecModel(source, spec.input_size, spec.in_channels, spec)


def module_model(
    module: nn.Module, input_size: tuple[int, int] = DEFAULT_SIZE, in_channels: int = 3
) -> ModuleModel:
    """Return the model of a module that a Python program made; of a compiled one, what it wraps.

    Raises:
        UserCodeError: it is TorchScript, whose parts cannot be looked into.
    """
    import torch

    module = getattr(module, "_orig_mod", module)
    if isinstance(module, torch.jit.ScriptModule):
        raise UserCodeError(
            f"a {type(module).__name__} is TorchScript; pass the module that it was made from"
        )
    source = ModelSource(kind="module", name=type(module).__name__)
    return ModuleModel(source, input_size, in_channels, module=module)


def as_given(
    model: Any,
    function: str,
    input_size: int | tuple[int, int] | None = None,
    in_channels: int | None = None,
) -> GivenModel:
    """Return what a Python program passed to ``function`` as a model.

    Args:
        model: a spec, a module, or a model that was opened already.
        function: the public function, for the sentence.
        input_size: pixels, one number for a square or (height, width).
        in_channels: of a module's images.

    Raises:
        S2MLPError: it is none of them.
    """
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    if size is not None:
        size = _pixels(size, function)
    if isinstance(model, ModelSpec):
        model = spec_model(model)
    if isinstance(model, GivenModel):
        if in_channels not in (None, model.in_channels):
            raise S2MLPError(
                f"{function}: in_channels: found {in_channels}; allowed: {model.in_channels}, that "
                f"of {model.name}; another spec has others: load_spec(..., "
                f'("in_channels={in_channels}",))'
            )
        return model if size is None else model.at(size)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        channels = DEFAULT_CHANNELS if in_channels is None else in_channels
        return module_model(model, size or DEFAULT_SIZE, channels)
    found = repr(model) if isinstance(model, str | Path) else f"a {type(model).__name__}"
    shown = model if isinstance(model, str) else "v2-small"
    raise S2MLPError(
        f"{function}: found {found}; allowed: a spec or a torch.nn.Module; "
        f'load_spec("{shown}") returns a spec'
    )


def _pixels(size: object, function: str) -> tuple[int, int]:
    match size:
        case (int(height), int(width)) if 0 < height <= MAX_PIXELS and 0 < width <= MAX_PIXELS:
            return height, width
    raise S2MLPError(
        f"{function}: input_size: found {size!r:.60}; allowed: 1 to {MAX_PIXELS} pixels, as one "
        "number or as (height, width)"
    )


def _python(
    model: str,
    ckpt: str | Path | None,
    overrides: tuple[str, ...],
    input_size: tuple[int, int] | None,
    in_channels: int | None,
    averaged: bool,
    key: str | None,
) -> PythonModel:
    code = load_code(model)
    arguments = code_arguments(overrides, model)
    written = ", ".join(overrides)
    source = ModelSource(
        kind="python",
        name=f"{code.name}[{written}]" if written else code.name,
        path=model,
        arguments=arguments,
        sha256=code.sha256,
        imports=imported_files(code.path),
        weights=None if ckpt is None else str(ckpt),
        averaged=averaged,
        key=key,
    )
    return _python_model(source, code, input_size or DEFAULT_SIZE, in_channels or DEFAULT_CHANNELS)


def _python_model(
    source: ModelSource,
    code: UserCode,
    input_size: tuple[int, int],
    in_channels: int,
) -> PythonModel:
    model = PythonModel(
        source, input_size, in_channels, notes=code.notes, path=code.path, code=code
    )
    if source.weights is None:
        return model
    from s2mlp_cli.checkpoints.loading import load_weights

    expected = {name: tuple(each.shape) for name, each in model.build().state_dict().items()}
    weights = _weights_file(source.weights)
    state, file = load_weights(weights, source.name, expected, source.averaged, source.key)
    _check_same(file.sha256, source.weights_sha256, source.weights)
    return replace(model, source=changed(source, weights_sha256=file.sha256), weights=state)


def _weights_file(path: str | Path) -> str | Path:
    """Return the file, for the name of the sample that of its weights."""
    from s2mlp_cli import sample

    return sample.CHECKPOINT if str(path) == sample.NAME else path


def _checkpoint(
    path: str | Path,
    spec: ModelSpec | None,
    input_size: tuple[int, int] | None,
    averaged: bool,
    key: str | None,
) -> CheckpointModel:
    from s2mlp_cli.checkpoints.loading import load_checkpoint

    checkpoint = load_checkpoint(_weights_file(path), spec, averaged, str(path), input_size, key)
    source = ModelSource(
        kind="checkpoint",
        name=Path(path).name,
        path=str(path),
        sha256=checkpoint.facts.sha256,
        averaged=averaged,
        key=key,
    )
    found, notes = checkpoint.spec, checkpoint.facts.stated
    return CheckpointModel(
        source, found.input_size, found.in_channels, found, notes=notes, checkpoint=checkpoint
    )


def _exported(path: Path, input_size: tuple[int, int] | None = None) -> ExportedModel:
    from s2mlp_cli.checkpoints.reading import sha256_of
    from s2mlp_cli.runtimes.sessions import read_facts

    facts = read_facts(path)
    channels, *own = facts.image
    if input_size is not None and any(
        size not in (None, asked) for size, asked in zip(own, input_size, strict=True)
    ):
        raise ExportError(
            f"{path} takes images of {own[0]}x{own[1]} only; leave out --input-size, or export it "
            "again at another size"
        )
    height, width = (
        size or default for size, default in zip(own, input_size or DEFAULT_SIZE, strict=True)
    )
    source = ModelSource(kind="exported", name=path.name, path=str(path), sha256=sha256_of(path))
    sized = input_size is not None or None not in own
    channels = channels or DEFAULT_CHANNELS
    return ExportedModel(source, (height, width), channels, facts=facts, sized=sized)


def _names_weights(model: str) -> bool:
    """Tell a file of weights, or an exported one, from a spec; a built-in name has no folder."""
    if names_code(model) or _ends(model, (".yaml", ".yml")):
        return False
    return _ends(model, (*WEIGHTS, *EXPORTED)) or ("/" in model and Path(model).is_file())


def _ends(path: str | Path, endings: tuple[str, ...]) -> bool:
    return str(path).lower().endswith(endings)


def _check_same(found: str | None, known: str | None, path: str | None) -> None:
    if known is not None and found != known:
        raise S2MLPError(
            f"{path} has changed (sha256 {(found or '')[:12]} instead of {known[:12]}); restore the"
            " file, or start again without the earlier results"
        )


def _with_shift(module: nn.Module, shift: str | None) -> nn.Module:
    from s2mlp_cli.models import set_shift

    if shift is not None:
        set_shift(module, shift)
    return module
