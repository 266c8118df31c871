"""Numbers as people read them: the right unit, and nothing lost but digits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli import units

SUFFIXES = {
    units.count: {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    units.size: {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
    units.seconds: {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9},
}


@pytest.mark.parametrize("write", SUFFIXES)
@given(value=st.integers(0, 10**15).map(float) | st.floats(1e-9, 1e6))
def test_what_is_written_is_the_value(write, value):
    number, _, suffix = write(value).partition(" ")
    read = float(number) * SUFFIXES[write][suffix]
    assert read == pytest.approx(value, rel=5.01e-4, abs=0.5 if suffix == "B" else 0)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (units.count, 960, "960"),
        (units.count, 0.125, "0.1250"),
        (units.count, 1000, "1.000 k"),
        (units.count, 55_322_432, "55.32 M"),
        (units.count, -16_340_000_000, "-16.34 G"),
        (units.count, 10**12, "1.000 T"),
        (units.count, 999_949, "999.9 k"),
        (units.count, 999_960, "1.000 M"),  # once rounded
        (units.seconds, 0.99996, "1.000 s"),
        (units.size, 1023, "1023 B"),
        (units.size, 2**10, "1.000 KiB"),
        (units.size, 3 * 2**19, "1.500 MiB"),
        (units.size, 2**30, "1.000 GiB"),
        (units.size, 2**40, "1.000 TiB"),
        (units.seconds, 0, "0 ns"),
        (units.seconds, 2e-10, "0.2000 ns"),
        (units.seconds, 1e-6, "1.000 µs"),
        (units.seconds, 0.01234, "12.34 ms"),
        (units.seconds, 1, "1.000 s"),
    ],
)
def test_the_largest_unit_that_the_value_reaches_is_taken(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 4, "0"),
        (16.344, 4, "16.34"),
        (0.89944, 4, "0.8994"),
        (1634.4, 4, "1634"),
        (163_449, 4, "163449"),  # no exponent, and no digit of a whole number is dropped
        (9.9996, 4, "10.00"),  # rounded up into the next decade
        (-0.00123, 2, "-0.0012"),
    ],
)
def test_significant_digits(value, digits, text):
    assert units.significant(value, digits) == text
