"""Mutated spec files: their keys, their text, their bases, and what ``--set`` puts over them."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tests.fuzz.law import hold
from tests.fuzz.mutations import damaged_bytes, damaged_tree

# Of the file and so of its model: one of both stands in every sentence.
NAME = "mutant"

_NORM = {"kind": "layer", "place": "pre", "eps": 1e-5}
_V1 = {
    "family": "s2mlp",
    "input_size": [28, 28],
    "classes": 10,
    "stages": [{"patch": 14, "dim": 16, "depth": 1, "expansion": 2}],
    "norm": _NORM,
    "patch_norm": True,
    "head_norm": False,
    "mixer": {"splits": [["down", "up", "right", "left"]], "activation": "gelu", "fusion": "none"},
}
_V2 = {
    **_V1,
    "stages": [
        {"patch": 7, "dim": 16, "depth": 1, "expansion": 3},
        {"patch": 2, "dim": 32, "depth": 2, "expansion": 3},
    ],
    "mixer": {
        "splits": [["down", "up", "right", "left"], ["right", "left"], []],
        "activation": "none",
        "fusion": "split-attention",
        "reduction": 4,
        "attention_bias": False,
    },
}
_VIP = {
    "family": "vip",
    "input_size": 28,
    "stages": [{"patch": 7, "dim": 16, "depth": 1, "expansion": 3, "segments": 4}],
    "reduction": 4,
}
_GFNET = {
    "family": "gfnet",
    "input_size": 32,
    "native_size": 32,
    "stages": [{"patch": 8, "dim": 16, "depth": 1, "expansion": 2}],
    "layer_scale": True,
}
_TIMM = {
    "family": "timm", "timm": "test_vit", "input_size": 160, "in_channels": 3, "classes": 10,
}  # fmt: skip
_HEIR = {
    "extends": "v2-small",
    "title": "An heir",
    "set": {"stages.0.depth": 1, "stages.1.depth": 1},
    "mixer": {"activation": "gelu"},
}

WHOLE = (_V1, _V2, _VIP, _GFNET, _TIMM, _HEIR)

_ODD_TEXTS = (
    "\ttitle: x", "x: &a [1]", "title: *a", "<<: *a", "<<: {classes: 3}", "a: &a {b: *a}",
    "title: !!timestamp x", "classes: !!int ''", "classes: !!float ''", "patch_norm: !!bool x",
    "title: !!binary '%'", "title: !!null x", "title: !x y", "title: ! y", "norm: !!set {layer}",
    "title: !!python/name:os.system", "title: !!python/object/apply:os.system [id]",
    "---", "...", "%YAML 9.9", "%YAML " + "9" * 5000 + ".1", "%TAG ! tag:x,2000:",
    'title: "\\UFFFFFFFF"', 'title: "\\uD800"', 'title: "\\x00"', '"\\UFFFFFFFF": 1',
    "? [a]", "? {a: b}\n: 1", "? " + "k" * 2000, "- 1", ": ", "{", "[", "}", "'", '"', "@x", "`x",
    "title: |+99", "title: >-0\n x", "title: =", "title: <<", "title: ~", "title: 2024-13-45",
    "title: 2024-01-01", "classes: 0x1F", "classes: 1_000", "classes: 12:30:45", "classes: +.inf",
    "classes: .nan", "classes: 1e999999", "classes: " + "9" * 5000, "classes: -" + "9" * 30,
    "set: {stages." + "9" * 5000 + ".dim: 1}", "set: {'': 1}", "set: {'.': 1}", "set: {set: 1}",
    "set: {'stages..dim': 1}", "set: {stages.-1.dim: 1}", "set: {stages.०.dim: 4}",
    "set: {'a" + ".a" * 400 + "': 1}", "set: {'a" + ".a" * 20000 + "': 1}", "set: []",
    "extends: .", "extends: ''", "extends: /", "extends: /dev/null", "extends: ~/x.yaml",
    "extends: ../", "extends: 3", "extends: " + "x/" * 3000 + ".yaml", "extends: timm:x",
    'extends: "\\uD800.yaml"', "stages: " + "[" * 3000, "stages: " + "{a: " * 3000,
    "# " + "x" * 70_000, "\x00", "\x85", "\u2028", "\ufeff", "título: ß",
)  # fmt: skip

_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp500")


class _Dumper(yaml.SafeDumper):
    """Writes every value out: aliases are a fault of their own."""

    def ignore_aliases(self, _):
        return True


def _write(place, tree, name=NAME):
    path = place / f"{name}.yaml"
    path.write_text(yaml.dump(tree, Dumper=_Dumper, sort_keys=False), encoding="utf-8")
    return path


@budget("spec keys")
@given(st.sampled_from(WHOLE).flatmap(damaged_tree))
def test_keys_and_values(place, tree):
    path = _write(place, tree)
    hold("show", path, names=(path, NAME))


@st.composite
def _odd_text(draw):
    lines = yaml.safe_dump(draw(st.sampled_from(WHOLE)), sort_keys=False).splitlines()
    for _ in range(draw(st.integers(0, 2))):
        odd = draw(st.one_of(st.sampled_from(_ODD_TEXTS), st.sampled_from(lines)))
        lines.insert(draw(st.integers(0, len(lines))), odd)
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    content = end.join(lines).encode(draw(st.sampled_from(_ENCODINGS)), "replace")
    return draw(st.one_of(st.just(content), damaged_bytes(content)))


@budget("spec text")
@given(_odd_text())
def test_text_and_bytes(place, content):
    path = place / f"{NAME}.yaml"
    path.write_bytes(content)
    hold("show", path, names=(path, NAME))


@st.composite
def _bases(draw):
    """Return some files by name, each of which extends some file, itself, or nothing."""
    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    targets = [f"{name}.yaml" for name in names]
    targets += [f"./{names[0]}.yaml", f"sub/../{names[-1]}.yaml", "v1-wide", "v1-wyde", "e.yaml"]
    some = [{}, {"classes": 10}, {"classes": 0}, {"family": "vip"}, {"set": {"norm.eps": 1}}, _V1]
    files = {}
    for name in names:
        base = draw(st.one_of(st.none(), st.sampled_from(targets)))
        own = draw(st.sampled_from(some))
        files[name] = {**own, **({} if base is None else {"extends": base})}
    return files


@budget("spec bases")
@given(_bases())
def test_bases(place, files):
    for old in place.glob("*.yaml"):
        old.unlink()
    (place / "sub").mkdir(exist_ok=True)
    paths = [_write(place, tree, name) for name, tree in files.items()]
    hold("show", paths[0], names=tuple(path.name for path in paths))


_KEYS = st.sampled_from(
    [
        "classes", "name", "title", "input_size", "stages", "stages.0", "stages.0.depth", "stages.9",
        "stages.-1.dim", "stages.x", "norm", "norm.eps", "norm.kind.x", "mixer.splits",
        "mixer.splits.0.0", "extends", "set", "family", "", ".", "..", "a.b.c", "a" + ".a" * 3000,
        "stages." + "9" * 5000, "stages.² .dim", "stages.०.dim", "__class__", "\n", "\x1b[2J",
    ]
)  # fmt: skip
_TEXTS = st.one_of(
    st.sampled_from(_ODD_TEXTS),
    st.sampled_from(
        ["1", "", "null", "[1]", "{a: 1}", "affine", "0", "-1", "28", "[28, 28]", "=="]
    ),
    st.text(max_size=8),
)


@budget("spec overrides")
@given(st.lists(st.tuples(_KEYS, st.sampled_from(["=", "", "=="]), _TEXTS), min_size=1, max_size=3))
def test_overrides(place, overrides):
    path = _write(place, _V2)
    words = [word for parts in overrides for word in ("--set", "".join(parts))]
    hold("show", path, *words, names=("--set", path))


@budget("spec counts")
@given(st.sampled_from(WHOLE[:5]).flatmap(lambda tree: damaged_tree(tree, most=1)))
def test_what_loads_is_counted_or_refused(place, tree):
    path = _write(place, tree)
    hold("count", "--model", path, "--format", "csv", names=(path, NAME))
