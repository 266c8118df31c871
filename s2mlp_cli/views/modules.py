"""Where one model has its parameters and operations: by operator, by module, as bars."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from s2mlp_cli.records.count import CountResult, ModuleCount
from s2mlp_cli.units import count
from s2mlp_cli.views.document import Cell, Column, Picture, Table, percentage
from s2mlp_cli.views.svg import bars

# Bars in a picture of one model.
_MOST_PARTS = 14

# A part with less than this of the parameters and of the multiply-adds has no bar of its own.
_LEAST = 0.005


def operators(result: CountResult) -> Table:
    """Return a row per operator."""
    whole = result.macs_matmul or 1
    return Table(
        caption=f"{result.model}: operators",
        columns=(
            Column("Operator"),
            Column("Calls", numeric=True),
            Column("MACs", _count, numeric=True),
            percentage("Share"),
            Column("Element-wise", _count, numeric=True),
            Column("Activations", _count, numeric=True),
        ),
        rows=tuple(
            (each.operator, each.calls, each.macs, _share(each.macs / whole), each.elementwise,
             each.activations)
            for each in result.by_operator
        ),
    )  # fmt: skip


def modules(result: CountResult, depth: int | None = None) -> Table:
    """Return the modules as a tree of ``depth`` levels, or of all."""
    whole = result.macs_matmul or 1
    return Table(
        caption=f"{result.model}: modules",
        columns=(
            Column("Module"),
            Column("Kernel", _shape),
            Column("Input", _shape),
            Column("Output", _shape),
            Column("Params", _count, numeric=True),
            Column("MACs", _count, numeric=True),
            replace(percentage("Share"), optional=True),
            Column("Element-wise", _count, numeric=True, optional=True),
            Column("Activations", _count, numeric=True, optional=True),
            Column("Kind", optional=True),
        ),
        rows=tuple(
            (Cell(each.module, label), each.kernel_size, _of_one(each.input_shape, result),
             _of_one(each.output_shape, result), each.params, each.macs,
             _share(each.macs / whole), each.elementwise, each.activations, each.kind)
            for label, each in folded_modules(result, depth)
        ),
        note="Shapes are those of one image." * any(each.input_shape for each in result.by_module),
    )  # fmt: skip


def _of_one(sizes: tuple[int, ...] | None, result: CountResult) -> tuple[int, ...] | None:
    """Return a shape without the axis of the batch, where that comes first."""
    return sizes[1:] if sizes and len(sizes) > 1 and sizes[0] == result.batch_size else sizes


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _count(value: float) -> str:
    return count(value) if value else ""


def _share(fraction: float) -> Cell:
    return Cell(fraction, f"{100 * fraction:.1f}" if fraction else "", fraction=min(fraction, 1))


def _inside(result: CountResult) -> dict[str, list[ModuleCount]]:
    """Return module -> those inside it with no other listed one between."""
    inside: dict[str, list[ModuleCount]] = {each.module: [] for each in result.by_module}
    for each in result.by_module:
        around = each.module
        while around:
            around = around.rpartition(".")[0]
            if around in inside:
                inside[around].append(each)
                break
    return inside


def folded_modules(
    result: CountResult, depth: int | None = None
) -> Iterator[tuple[str, ModuleCount]]:
    """Yield (indented label, module) in the order of the model, equal neighbours once.

    ``blocks.0-13, each`` are 14 modules that have the same parts and cost the same.
    """
    inside = _inside(result)
    waiting = [(0, [each]) for each in result.by_module if not each.module]
    while waiting:
        level, equal = waiting.pop()
        yield "\u00a0\u00a0" * level + _label(equal), equal[0]
        # The parts of a module that is used again are there.
        if level != depth and equal[0].shared not in inside:
            groups = _equal_neighbours(result, inside[equal[0].module])
            waiting += [(level + 1, group) for group in reversed(groups)]


def _equal_neighbours(
    result: CountResult, siblings: Sequence[ModuleCount]
) -> list[list[ModuleCount]]:
    """Group modules that are numbered one after the other and have the same in them."""
    if len(siblings) == 1:
        return [list(siblings)]

    def alike(numbered: tuple[int, ModuleCount]) -> Hashable:
        place, module = numbered
        number = module.module.rpartition(".")[2]
        if not re.fullmatch(r"\d{1,9}", number):
            return place
        own = [each for each in result.by_module if each.module.startswith(f"{module.module}.")]
        return int(number) - place, tuple(
            (each.module.removeprefix(module.module), *(v for name, v in each if name != "module"))
            for each in (module, *own)
        )

    return [[each for _, each in group] for _, group in groupby(enumerate(siblings), alike)]


def _label(equal: Sequence[ModuleCount]) -> str:
    first, last = equal[0], equal[-1]
    around, _, name = first.module.rpartition(".")
    if first is not last:
        numbers = f"{name}-{last.module.rpartition('.')[2]}, each"
        return ".".join(filter(None, [around.rpartition(".")[2], numbers]))
    shared = f" (shares {first.shared})" if first.shared else ""
    return (name or "model") + shared


def picture(result: CountResult) -> Picture:
    """Return bars of the parts' parameters and multiply-adds."""
    shares = parts(result)
    largest = max(shares, key=lambda part: part[2], default=("nothing", 0, 0))
    name = result.title or result.model
    height, width = result.input_size
    return Picture(
        name=f"modules-{result.model}-{height}x{width}",
        description=(
            f"Bars of the percentage of parameters and of multiply-adds in each part of "
            f"{name}; most multiply-adds are in {largest[0]}."
        ),
        drawing=bars.modules(shares, title=f"Where {name} has its parameters and MACs"),
    )


def parts(result: CountResult) -> list[tuple[str, int, int]]:
    """Return (part, parameters, MACs) that add up to the model, in the order of the model.

    The blocks of a stage are added up (``stages.0.mixer`` is all mixers of stage 0); parts under
    half a percent of both, and those beyond the 14 largest, become ``others``.
    """
    inside, sums = _inside(result), defaultdict[str, list[int]](lambda: [0, 0])
    for each in result.by_module:
        within = inside[each.module]
        part = sums[_part(each.module)]
        part[0] += each.params - sum(child.params for child in within)
        part[1] += each.macs - sum(child.macs for child in within)
    rows = [(name, params, macs) for name, (params, macs) in sums.items()]

    def weight(row: tuple[str, int, int]) -> float:
        return max(row[1] / (result.params or 1), row[2] / (result.macs or 1))

    large = [row for row in sorted(rows, key=weight, reverse=True) if weight(row) >= _LEAST]
    kept = [row for row in rows if row in large[:_MOST_PARTS]]
    rest = [row for row in rows if row not in kept]
    others = ("others", sum(row[1] for row in rest), sum(row[2] for row in rest))
    return [*kept, others] if any(others[1:]) else kept


def _part(module: str) -> str:
    """Return the part of the model that a module belongs to: ``stages.0.mixer``, ``head``."""
    if not module:
        return "(model)"
    inside = re.match(r"(.*?)\bblocks\.\d+\.?([^.]*)", module)
    if inside:
        return f"{inside[1]}{inside[2] or 'blocks'}"
    return ".".join(module.split(".")[:3])
