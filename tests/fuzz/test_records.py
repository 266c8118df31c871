"""Mutated records of every kind, through ``report`` in each of its forms and ``compare``."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests import samples
from tests.fuzz.budget import budget
from tests.fuzz.law import hold
from tests.fuzz.mutations import GENTLE, damaged_bytes, damaged_tree

NAME = "mutant.json"

TREES = {kind: json.loads(make().to_json()) for kind, make in samples.ALL.items()}
COMPARABLE = ("count", "audit", "verify", "profile", "validate")
OUTPUTS = st.sampled_from([(), ("-o", "out.html"), ("-o", "out.md"), ("-o", "out.txt")])


def _write(tree):
    Path(NAME).write_text(json.dumps(tree), encoding="utf-8")


@st.composite
def _damaged(draw):
    """Return a record with any faults, or with values that only a renderer may stumble over."""
    tree = TREES[draw(st.sampled_from(sorted(TREES)))]
    if draw(st.booleans()):
        return draw(damaged_tree(tree))
    return {**tree, **draw(damaged_tree({"results": tree["results"]}, faults=GENTLE))}


@budget("record keys")
@given(_damaged(), OUTPUTS)
def test_keys_and_values(tree, output):
    _write(tree)
    hold("report", NAME, *output, names=(NAME,))


@budget("record bytes")
@given(st.sampled_from(sorted(TREES)).flatmap(
    lambda kind: damaged_bytes(json.dumps(TREES[kind]).encode())
))  # fmt: skip
def test_bytes(content):
    Path(NAME).write_bytes(content)
    hold("report", NAME, names=(NAME,))


@st.composite
def _only_results(draw):
    """Return a record with faults in its rows alone: its frame would be refused at once."""
    kind = draw(st.sampled_from(COMPARABLE))
    tree = TREES[kind]
    return kind, {**tree, **draw(damaged_tree({"results": tree["results"]}, faults=GENTLE))}


@budget("record pairs")
@given(_only_results(), st.booleans(), st.sampled_from(["table", "json", "csv", "markdown"]))
def test_against_a_good_one(made, last, form):
    kind, tree = made
    Path("good.json").write_text(json.dumps(TREES[kind]), encoding="utf-8")
    _write(tree)
    files = ("good.json", NAME) if last else (NAME, "good.json")
    gate = ("--fail-slower", "5%") if kind == "profile" else ()
    hold("compare", *files, "--format", form, *gate, names=(NAME,), gate=bool(gate))
