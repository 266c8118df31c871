"""Faults for any file: of its bytes, and of the tree of keys and values that it holds."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
# (draw, a dictionary or list, one of its keys): changes it in place.
Fault = Callable[[Draw, Any, Any], None]

# Bytes at both ends where most formats keep what matters.
_EDGE = 600

# Texts that some reader or renderer could stumble over.
WORDS = st.sampled_from(
    [
        "", " ", "x", "\n", "a\nb", "\x1b[31mred", "\x00", "é", "\u2028", "\ufeff", "\udcff", "../..",
        "/", "[bold]", "[/]", "%s", "{}", "<script>", "|", "__class__", "0", "-1", "1e5", "nan",
        "NaN", "null", "9" * 5000, "x" * 10_000, "2024-99-99", "ok" * 40,
    ]
)  # fmt: skip

NUMBERS = st.one_of(
    st.sampled_from(
        [
            0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**19, 10**30, 10**299,
            0.0, -0.0, 0.5, 1e-320, 1e-12, 1e300, -1e300, float("nan"), float("inf"), -float("inf"),
        ]
    ),
    st.integers(-5, 300),
    st.floats(),
)  # fmt: skip

SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)


def _nested(depth):
    value = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(WORDS, SCALARS, max_size=2),
    st.sampled_from([6, 12, 200]).map(_nested),
)


# Trees of dictionaries and lists -----------------------------------------------------------------


def places(tree, path=()):
    """Yield the path of every value in a tree but the tree itself."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def _drop(_, inside, key):
    del inside[key]


def _replace(draw, inside, key):
    inside[key] = draw(VALUES)


def _rename(draw, inside, key):
    if isinstance(inside, list):
        inside.insert(key, draw(VALUES))
    else:
        inside[draw(st.one_of(WORDS, st.just(str(key)[1:]), st.just(f"{key}s")))] = inside.pop(key)


def _double(draw, inside, key):
    if isinstance(inside, list):
        inside[key:key] = [inside[key]] * draw(st.sampled_from([1, 2, 20]))
    else:
        inside[f"{key}_"] = copy.deepcopy(inside[key])


def _wrap(draw, inside, key):
    value = inside[key]
    inside[key] = draw(st.sampled_from([[value], {str(key): value}, [value, value], str(value)]))


_WHOLE_NUMBERS = NUMBERS.filter(lambda value: isinstance(value, int))
_SAME_KIND = {
    bool: st.booleans(),
    int: _WHOLE_NUMBERS,
    float: NUMBERS,
    str: WORDS,
    type(None): st.one_of(NUMBERS, WORDS),
}


def _alter(draw, inside, key):
    """Put another value of the same kind: what a schema cannot refuse by the type."""
    value = inside[key]
    if isinstance(value, (dict, list)):
        items = list(value.items() if isinstance(value, dict) else value)
        inside[key] = type(value)(items[: draw(st.integers(0, len(items)))])
    else:
        inside[key] = draw(_SAME_KIND[type(value)])


GENTLE = (_alter, _alter, _alter, _double)
BRUTAL = (_drop, _replace, _replace, _replace, _rename, _double, _wrap)


@st.composite
def damaged_tree(draw, tree, most=3, faults=BRUTAL):
    """Return a copy of ``tree`` with one to ``most`` keys dropped, renamed, doubled or retyped."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        found = list(places(tree))
        if not found:
            break
        *above, key = draw(st.sampled_from(found))
        inside = tree
        for step in above:
            inside = inside[step]
        draw(st.sampled_from(faults))(draw, inside, key)
    return tree


# Bytes -------------------------------------------------------------------------------------------


def _position(draw, content):
    last = len(content)
    return int(
        draw(
            st.one_of(
                st.integers(0, min(_EDGE, last)),
                st.integers(max(0, last - _EDGE), last),
                st.integers(0, last),
            )
        )
    )


def _cut(draw, content):
    return content[: _position(draw, content)]


def _flip(draw, content):
    at = min(_position(draw, content), len(content) - 1)
    mask = draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :] if content else b""


def _overwrite(draw, content):
    at, piece = _position(draw, content), draw(st.binary(min_size=1, max_size=8))
    return content[:at] + piece + content[at + len(piece) :]


def _insert(draw, content):
    at = _position(draw, content)
    return content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]


def _repeat(draw, content):
    at, length = _position(draw, content), draw(st.integers(1, 600))
    return content[:at] + content[at : at + length] + content[at:]


def _blank(draw, content):
    at, length = _position(draw, content), draw(st.integers(1, 64))
    filling = bytes([draw(st.sampled_from([0, 0xFF, 0x7F]))])
    return content[:at] + filling * len(content[at : at + length]) + content[at + length :]


_BYTE_FAULTS = (_cut, _flip, _flip, _overwrite, _insert, _repeat, _blank)


@st.composite
def damaged_bytes(draw, content, most=3):
    """Return ``content`` cut, flipped, overwritten, lengthened or blanked, one to ``most`` times."""
    for _ in range(draw(st.integers(1, most))):
        content = draw(st.sampled_from(_BYTE_FAULTS))(draw, content)
    return content
