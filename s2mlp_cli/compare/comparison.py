"""Loaded records in, their comparison out: rows matched by name, and the gate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s2mlp_cli.compare.judging import judged
from s2mlp_cli.compare.mcnemar import judge_image_by_image
from s2mlp_cli.compare.quantities import Quantity, quantities, reasons_not_timed
from s2mlp_cli.compare.specs import Names, own_names, settings_remarks
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Environment, Record
from s2mlp_cli.records.compare import (
    ComparedRow,
    CompareRecord,
    EnvironmentDifference,
    NoLongerTimed,
    OnlyIn,
    Source,
)
from s2mlp_cli.records.profile import ProfileRecord
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.records.validate import ValidateRecord

# The row and the name of a quantity.
Place = tuple[str, str]


@dataclass(frozen=True)
class Side:
    """What is compared with others: a record, or those of a folder, one of each kind.

    ``records`` has the file and the record by kind.
    """

    path: Path
    records: Mapping[str, tuple[Path, Record]]


def read_side(path: Path) -> Side:
    """Read a record, or all records in a folder.

    Raises:
        RecordError: a file is not a record, or a folder has none, or two of one kind.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise RecordError(f"there is no record in {path}; save some there, with -o or --record")
    found: dict[str, tuple[Path, Record]] = {}
    for file in files:
        record = read_record(file)
        if record.kind in found:
            raise RecordError(
                f"{file} and {found[record.kind][0]} are both records of {record.kind}; keep one "
                "of each kind in a folder"
            )
        found[record.kind] = (file, record)
    return Side(path, found)


def compare_records(
    paths: Sequence[Path], loaded: Sequence[Record], fail_slower: float | None
) -> CompareRecord:
    """Return the comparison of records that were read from ``paths``: one record a side."""
    pairs = zip(paths, loaded, strict=True)
    return compare_sides(
        [Side(path, {record.kind: (path, record)}) for path, record in pairs], fail_slower
    )


def compare_sides(sides: Sequence[Side], fail_slower: float | None) -> CompareRecord:
    """Return the comparison of sides, kind by kind, the last against the first.

    Raises:
        RecordError: they have no kind in common, nothing in them was timed, or a gate has nothing
            to judge.
    """
    kinds = _common_kinds(sides)
    series: list[list[Quantity]] = [[] for _ in sides]
    environments: dict[str, EnvironmentDifference] = {}
    gone: list[NoLongerTimed] = []
    remarks: list[str] = []
    for kind in kinds:
        paths = [side.records[kind][0] for side in sides]
        loaded = [side.records[kind][1] for side in sides]
        names, said = own_names(paths, loaded)
        own = [quantities(*each) for each in zip(loaded, names, strict=True)]
        if kind == ProfileRecord.kind and not any(own):
            where = ", ".join(map(str, paths))
            raise RecordError(f"nothing was timed in {where}; the records say why")
        for side, added in zip(series, _paired(own, kind), strict=True):
            side.extend(added)
        gone += _no_longer_timed(loaded, names, own)
        for each in environment_differences([record.environment for record in loaded]):
            environments.setdefault(each.what, each)
        remarks += [*_mixed_environments(paths, loaded), *said, *settings_remarks(loaded)]
    rows, only_in = compare(series)
    if ValidateRecord.kind in kinds:
        files, validations = zip(
            *(side.records[ValidateRecord.kind] for side in sides), strict=True
        )
        rows, more = judge_image_by_image(rows, files, validations)
        remarks += more
    compared: CompareRecord = CompareRecord.new(
        command=("s2mlp", "compare", *(str(side.path) for side in sides)),
        environment=sides[-1].records[kinds[0]][1].environment,
        compared=", ".join(kinds),
        sources=tuple(map(_source, sides)),
        environments=tuple(environments.values()),
        lone=only_in,
        no_longer_timed=tuple(gone),
        fail_slower=fail_slower,
        remarks=(*remarks, *_left_out(sides, kinds)),
        results=rows,
    )
    if fail_slower is not None:
        _refuse_an_idle_gate(compared)
    return compared


def _common_kinds(sides: Sequence[Side]) -> tuple[str, ...]:
    first = sides[0]
    kinds = tuple(kind for kind in first.records if all(kind in side.records for side in sides))
    if kinds:
        return kinds
    other = next(side for side in sides if not first.records.keys() & side.records.keys())
    raise RecordError(
        f"{first.path} is a record of {', '.join(first.records)} and {other.path} one of "
        f"{', '.join(other.records)}; compare records of one kind, or folders with several"
    )


def _left_out(sides: Sequence[Side], kinds: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each kind of record that not every side has."""
    for kind in dict.fromkeys(kind for side in sides for kind in side.records if kind not in kinds):
        having = ", ".join(str(side.path) for side in sides if kind in side.records)
        yield f"only {having} has a record of {kind}, which is left out"


def _source(side: Side) -> Source:
    records = [record for _, record in side.records.values()]
    return Source(
        path=str(side.path),
        schema_name=", ".join(record.schema_ for record in records),
        created=max(record.created for record in records),
    )


def compare(
    series: Sequence[Sequence[Quantity]],
) -> tuple[tuple[ComparedRow, ...], tuple[OnlyIn, ...]]:
    """Return the rows that two sources or more have, and those that some source lacks.

    Args:
        series: the quantities of each source, in the order in which they are to be read; the last
            source that has a row is judged against the first that has it.
    """
    tables = [{(each.row, each.name): each for each in source} for source in series]
    places = _row_by_row(place for table in tables for place in table)
    found = [(place, [table.get(place) for table in tables]) for place in places]
    rows = tuple(
        judged(*place, cells) for place, cells in found if len(cells) - cells.count(None) > 1
    )
    return rows, _only_in(found)


def _row_by_row(places: Iterable[Place]) -> list[Place]:
    """Return each place once, those of one row together, rows in the order of their first."""
    rows: dict[str, dict[Place, None]] = {}
    for place in places:
        rows.setdefault(place[0], {})[place] = None
    return [place for row in rows.values() for place in row]


def _only_in(found: Sequence[tuple[Place, list[Quantity | None]]]) -> tuple[OnlyIn, ...]:
    """Return what some source lacks: a whole row by its name, else the one quantity of it."""
    rows: dict[str, list[bool]] = {}
    for (row, _), cells in found:
        seen = rows.setdefault(row, [False] * len(cells))
        rows[row] = [old or cell is not None for old, cell in zip(seen, cells, strict=True)]
    missing = {row: tuple(seen) for row, seen in rows.items() if not all(seen)}
    for (row, name), cells in found:
        present = tuple(cell is not None for cell in cells)
        if not all(present) and present != missing.get(row):
            missing[f"{row}: {name}"] = present
    return tuple(OnlyIn(row=row, present=present) for row, present in missing.items())


def _paired(series: Sequence[Sequence[Quantity]], kind: str) -> list[list[Quantity]]:
    """Put one counted model against another: with one in each record, it is clear which is meant.

    Only counts are exact whatever was counted; a time of one model says nothing of another's.
    """
    names = [dict.fromkeys(each.row for each in source) for source in series]
    if kind != "count" or any(len(rows) != 1 for rows in names):
        return [list(source) for source in series]
    name = " → ".join(dict.fromkeys(row for rows in names for row in rows))
    return [[replace(each, row=name) for each in source] for source in series]


def _no_longer_timed(
    loaded: Sequence[Record], names: Sequence[Names], series: Sequence[Sequence[Quantity]]
) -> tuple[NoLongerTimed, ...]:
    """Return what an earlier record timed, and the last refused or could not run any more."""
    timed = {(each.row, each.name) for source in series[:-1] for each in source if each.unit == "s"}
    now = {(each.row, each.name) for each in series[-1]}
    return tuple(
        NoLongerTimed(row=row, quantity=name, reason=reason)
        for (row, name), reason in reasons_not_timed(loaded[-1], names[-1]).items()
        if (row, name) in timed - now
    )


def environment_differences(
    environments: Sequence[Environment],
) -> tuple[EnvironmentDifference, ...]:
    """Return what differs, the most telling first: the GPU, then torch, then the rest."""
    described = [_described(environment) for environment in environments]
    names = list(dict.fromkeys(name for each in described for name in each))
    rows = [(name, tuple(each.get(name) for each in described)) for name in names]
    return tuple(
        EnvironmentDifference(what=name, values=values)
        for name, values in rows
        if len(set(values)) > 1
    )


def _mixed_environments(paths: Sequence[Path], loaded: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence per profile whose rows were measured under different conditions."""
    for path, record in zip(paths, loaded, strict=True):
        if isinstance(record, ProfileRecord):
            found = environment_differences(record.environments)
            said = "; ".join(
                f"{each.what} {' and '.join(dict.fromkeys(map(str, each.values)))}"
                for each in found
            )
            if said:
                yield f"the rows of {path} were measured under different conditions ({said})"


def _described(environment: Environment) -> dict[str, str | None]:
    packages = dict(environment.packages)
    return {
        "GPU": ", ".join(environment.gpus) or None,
        "torch": packages.pop("torch", None),
        "driver": environment.driver,
        "CUDA": environment.cuda,
        "CPU": environment.cpu,
        "cores": str(environment.cpu_count),
        "system": environment.platform,
        "Python": environment.python,
        "s2mlp": environment.s2mlp,
        **packages,
    }


def _refuse_an_idle_gate(record: CompareRecord) -> None:
    """Raise where no row could ever fail: a gate that judged nothing has not passed."""
    if record.failed:
        return
    files = ", ".join(source.path for source in record.sources)
    why = "".join(f"; {remark}" for remark in record.remarks)
    if not record.gated:
        raise RecordError(
            f"--fail-slower has nothing to judge: {files} have no timed row in common{why}; "
            "compare profiles of the same models, shifts and settings"
        )
    if len(record.unjudged) == len(record.gated):
        raise RecordError(
            f"--fail-slower has nothing to judge: none of the {len(record.gated)} timed rows of "
            f"{files} has an interval; measure longer, with `s2mlp profile --max-time`"
        )
