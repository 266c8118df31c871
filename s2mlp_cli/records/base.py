"""Records: what a command measured, as frozen data that is saved as JSON and read back.

A record holds raw values, seconds and bytes and counts, never formatted text. Its ``schema`` is
``"s2mlp.<kind>/<version>"``; every kind has a module beside this one.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from s2mlp_cli.errors import printable

# Precisions that a measurement can run in, by the names that users write.
DTYPES = ("fp32", "tf32", "bf16", "fp16")

# Images at a time that a command takes; no device that exists holds more.
LARGEST_BATCH = 1_000_000

# The implementation that ratios are relative to: the papers' own code slices.
BASELINE = "slice"

# What is timed to tell what a shift costs, and computes none: a mixer without its shifts, and its
# two matrix products alone.
FLOORS = ("none", "products")

# The definition, which every other implementation is checked against; it does not compete.
REFERENCE = "oracle"


# What is counted or timed: no file with other values was measured.
Count = Annotated[int, Field(ge=0, lt=2**63)]
# What shares are taken of.
Some = Annotated[int, Field(ge=1, lt=2**63)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Frozen(BaseModel):
    """Base of everything in a record: immutable, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="null", populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _names_as_text(cls, given: Any) -> Any:
        return _as_text(given)


def _as_text(value: Any) -> Any:
    """Return data with every name in it as text: one that is not UTF-8 cannot be saved as JSON."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_as_text(key): _as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return tuple(map(_as_text, value)) if isinstance(value, tuple) else value


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def changed(record: AnyModel, **fields: Any) -> AnyModel:
    """Return a copy of a record or spec with other values in some fields, checked as new ones are.

    Raises:
        pydantic.ValidationError: no such field, or a value that the field does not take
            (``model_copy(update=...)`` would accept both in silence).
    """
    own = {name: getattr(record, name) for name in type(record).model_fields}
    return type(record).model_validate({**own, **fields})


class Environment(Frozen):
    """Where a measurement was made: what another person needs in order to repeat it.

    ``cpu_count`` are the cores that this process could use; ``cpu_count_why`` says what decided it.
    """

    s2mlp: str
    python: str
    platform: str
    cpu: str
    cpu_count: int
    packages: dict[str, str]
    cuda: str | None = None
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    cpu_count_why: str | None = None


def now() -> datetime:
    """Return the present moment in UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


class Record(Frozen):
    """The frame that all kinds share; a kind adds ``results``."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    schema_: str = Field(alias="schema")
    created: datetime
    command: tuple[str, ...]
    environment: Environment
    results: tuple[Any, ...]

    @classmethod
    def schema_name(cls) -> str:
        """Return the name that this kind and version carries in its files."""
        return f"s2mlp.{cls.kind}/{cls.version}"

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """Make a record of this kind, with its schema and the present time filled in."""
        return cls.model_validate({"schema": cls.schema_name(), "created": now(), **fields})

    def to_json(self) -> str:
        """Return the record as one indented JSON document that ends with a newline."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"
