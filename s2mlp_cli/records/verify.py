"""The record of ``s2mlp verify``: every check, and a verdict per implementation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from s2mlp_cli.records.base import Frozen, Record

# The dtypes that are checked by default.
DTYPE_NAMES = ("fp32", "fp64", "bf16", "fp16")

# ``wrong as known`` is an expected failure: an implementation marked unsafe, with the proof.
Outcome = Literal["right", "wrong", "wrong as known", "cannot run"]


class Deviation(Frozen):
    """How one tensor differs from the reference, element by element.

    Attributes:
        wrong: elements that differ: in any bit of their value for a shift, the sign of a zero
            apart (-0 equals 0), by more than the tolerance for a mixer kernel. All inputs are
            finite.
        elements: elements compared.
        max_error: the largest difference, as a fraction of the reference's largest value; None
            where it is not a number.
    """

    wrong: int
    elements: int
    max_error: float | None

    @property
    def fraction(self) -> float | None:
        """The fraction that is wrong; None where nothing was compared."""
        return self.wrong / self.elements if self.elements else None


class VerifyCase(Frozen):
    """One comparison.

    Attributes:
        shape: B,H,W,C of one map; the tensor that is shifted has ``len(splits) * C`` channels.
        splits: the directions of every map.
        layout: the memory format of the input.
        tolerance: allowed error, relative to the largest value; 0 means equal in every bit.
        forward: the output in training and the one in inference mode, together.
        gradient: None for an implementation that does not train.
        fault: what went wrong other than a value: an exception, another shape, a written input.
    """

    shape: tuple[int, int, int, int]
    splits: tuple[tuple[str, ...], ...]
    dtype: str
    layout: str
    tolerance: float = 0.0
    forward: Deviation | None = None
    gradient: Deviation | None = None
    fault: str | None = None

    @property
    def right(self) -> bool:
        """Whether nothing was wrong."""
        compared = (self.forward, self.gradient)
        return self.fault is None and not any(part and part.wrong for part in compared)


class VerifyResult(Frozen):
    """One implementation on one device.

    Attributes:
        subject: ``shift`` for an implementation of the stand-alone shift, ``mixer`` for a kernel
            that replaces the mixer.
        checks: cases compared; ``failed`` of them were wrong.
        wrong_forward: fraction of the elements of all outputs that are wrong; None if none ran.
        wrong_gradient: the same of the gradients.
        max_error: the largest error of any output or gradient, relative as in a case.
        skipped: dtype -> the reason why it could not be checked on this device.
        wrong_by_direction: for a wrong shift, v1's directions on a map of 14x14x384: direction ->
            fraction of wrong elements in its group of channels.
    """

    implementation: str
    summary: str
    subject: Literal["shift", "mixer"]
    safe: bool
    device: str
    seed: int
    verdict: Outcome
    checks: int
    failed: int
    wrong_forward: float | None
    wrong_gradient: float | None
    max_error: float | None
    skipped: dict[str, str]
    wrong_by_direction: dict[str, float]
    cases: tuple[VerifyCase, ...]

    @property
    def as_expected(self) -> bool:
        """Whether this row raises no alarm: right, an expected failure, or unable to run."""
        return self.verdict in ("right" if self.safe else "wrong as known", "cannot run")


class Smear(Frozen):
    """A group of channels that is overwritten before it is read.

    Attributes:
        group: counted from 1.
        direction: in which it would move if nothing were overwritten.
        wrong: fraction of its values that differ from that.
        size: images, rows and columns of the contiguous map on which that was seen.
    """

    group: int
    direction: str
    wrong: float
    size: tuple[int, int, int] = (1, 14, 14)


class ForeignResult(Frozen):
    """What a shift from a user's Python file was found to compute.

    Attributes:
        implementation: ``mine.py:my_shift``.
        sha256: of the file.
        arguments: given with ``--set``.
        is_shift: whether it moves whole groups of channels and nothing else, whatever its border.
        layout: of its maps: ``B,H,W,C``, ``B,C,H,W`` or ``B,N,C``; None if it cannot be called.
        explanation: the verdict in words.
        splits: the line for a spec's mixer that says the same, where there is one.
        smears: groups that are overwritten.
        findings: how it behaves beside its values.
    """

    implementation: str
    sha256: str | None
    arguments: dict[str, Any]
    is_shift: bool
    layout: str | None
    explanation: str
    splits: str | None
    smears: tuple[Smear, ...] = ()
    findings: tuple[str, ...] = ()


class VerifyRecord(Record):
    """The implementations that were checked, and foreign shifts that were explained."""

    kind: ClassVar[str] = "verify"
    results: tuple[VerifyResult, ...]
    foreign: tuple[ForeignResult, ...] = ()

    @property
    def as_expected(self) -> bool:
        """Whether every row is as it should be."""
        return all(result.as_expected for result in self.results) and all(
            found.is_shift for found in self.foreign
        )
