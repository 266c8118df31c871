from pathlib import Path

import pytest
import yaml

from s2mlp_cli.errors import SpecError
from s2mlp_cli.specs import load_spec, names, with_input_size
from s2mlp_cli.specs.loading import FOLDER
from s2mlp_cli.views.catalogue import spec_yaml


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", names())
def test_every_built_in_spec_loads_and_its_yaml_loads_to_the_same(name, tmp_path):
    spec = load_spec(name)
    file = write(tmp_path / "again.yaml", spec_yaml(spec))
    assert load_spec(file) == load_spec(Path(file)) == spec
    assert spec.title
    assert spec.source


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_built_in_file_names_the_schema_that_lies_beside_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == FOLDER / "spec.schema.json"


def test_the_main_variants_come_before_the_ablations():
    listed = names()
    assert listed[:2] == ("v1-deep", "v1-wide")
    assert listed.index("v2-small") < listed.index("v1-depth-1")


def test_v2_medium_is_table_1_of_the_paper():
    spec = load_spec("v2-medium")
    assert [(s.patch, s.dim, s.depth, s.expansion) for s in spec.stages] == [
        (7, 256, 7, 3),
        (2, 512, 17, 3),
    ]
    assert spec.mixer.splits == (
        ("down", "up", "right", "left"),
        ("right", "left", "down", "up"),
        (),
    )
    assert spec.maps() == ((32, 32), (16, 16))


def test_v1_deep_differs_from_wide_in_what_the_paper_says():
    wide, deep = load_spec("v1-wide"), load_spec("v1-deep")
    assert (deep.norm.kind, wide.norm.kind) == ("affine", "layer")
    assert (deep.stages[0].dim, deep.stages[0].depth) == (384, 36)
    assert deep.mixer == wide.mixer
    assert deep.norm.place == wide.norm.place == "post"


def test_overrides_apply_in_order_and_show_in_the_name():
    spec = load_spec("v2-small", ("stages.0.depth=2", "norm.kind=affine", "stages.0.depth=3"))
    assert spec.stages[0].depth == 3
    assert spec.norm.kind == "affine"
    assert spec.name == "v2-small[stages.0.depth=2, norm.kind=affine, stages.0.depth=3]"


def test_a_users_file_extends_a_built_in_spec_and_another_file(tmp_path):
    write(tmp_path / "base.yaml", "extends: v2-small\nname: base\nclasses: 10\n")
    child = write(tmp_path / "child.yml", "extends: base.yaml\nset: {stages.1.depth: 1}\n")
    spec = load_spec(child)
    assert (spec.name, spec.classes, spec.stages[1].depth) == ("child", 10, 1)
    assert spec.stages[0] == load_spec("v2-small").stages[0]


def test_mappings_merge_and_lists_are_replaced(tmp_path):
    path = write(
        tmp_path / "m.yaml",
        "extends: v1-wide\nnorm: {place: pre}\nmixer: {splits: [[up, down]]}\n",
    )
    spec = load_spec(path)
    assert (spec.norm.kind, spec.norm.place) == ("layer", "pre")
    assert spec.mixer.splits == (("up", "down"),)
    assert spec.mixer.activation == "gelu"


def test_an_exponent_without_a_dot_is_a_number(tmp_path):
    spec = load_spec(write(tmp_path / "m.yaml", "extends: v1-wide\nnorm: {eps: 1e-6}\n"))
    assert spec.norm.eps == 1e-6


def test_another_input_size_is_checked_like_a_file():
    assert with_input_size(load_spec("v1-wide"), (384, 224)).input_size == (384, 224)
    with pytest.raises(SpecError) as caught:
        with_input_size(load_spec("v2-small"), (225, 224))
    assert str(caught.value) == (
        "v2-small at 225x224: input_size: found 225x224, which the patches of stage 0 do not "
        "divide; allowed: multiples of 14, such as 224x224"
    )


def test_third_party_variants_are_data(tmp_path):
    text = """
    extends: v2-small
    head_norm: false
    mixer: {reduction: 1, attention_bias: true, splits: [[up, left], [], [down-right]]}
    """
    spec = load_spec(write(tmp_path / "m.yaml", text))
    assert (spec.mixer.reduction, spec.mixer.attention_bias) == (1, True)
    assert yaml.safe_load(spec_yaml(spec))["mixer"]["splits"] == [
        ["up", "left"],
        [],
        ["down-right"],
    ]


@pytest.mark.parametrize(
    ("text", "title", "source"),
    [
        ("", "S2-MLPv2-Small/7", "arXiv 2108.01072, table 1"),
        ("set: {stages.0.depth: 1}", "S2-MLPv2-Small/7, changed: stages.0.depth=1",
         "changed from arXiv 2108.01072, table 1"),
        ("norm: {place: post}\nclasses: 10", "S2-MLPv2-Small/7, changed: norm.place=post, classes=10",
         "changed from arXiv 2108.01072, table 1"),
        ("classes: 10\ntitle: Mine\nsource: here", "Mine", "here"),
    ],
)  # fmt: skip
def test_a_changed_spec_does_not_keep_the_title_of_the_paper(text, title, source, tmp_path):
    spec = load_spec(write(tmp_path / "m.yaml", f"extends: v2-small\n{text}\n"))
    assert (spec.title, spec.source) == (title, source)


def test_the_title_says_what_files_and_options_changed(tmp_path):
    write(tmp_path / "a.yaml", "extends: v2-small\nset: {classes: 10}\n")
    spec = load_spec(
        write(tmp_path / "b.yaml", "extends: a.yaml\nin_channels: 1"), ("norm.eps=1e-6",)
    )
    assert spec.title == "S2-MLPv2-Small/7, changed: classes=10, in_channels=1, norm.eps=1e-06"
    assert spec.source == "changed from arXiv 2108.01072, table 1"
    write(tmp_path / "c.yaml", f"extends: v2-small\ntitle: {'x' * 195}\n")
    long = load_spec(tmp_path / "c.yaml", ("classes=10",))
    assert (len(long.title), long.title[-6:]) == (200, "x, ch…")


def test_of_a_changed_list_the_title_says_the_key_only(tmp_path):
    path = write(tmp_path / "m.yaml", "extends: v1-wide\nmixer: {splits: [[up, down]]}\n")
    title = f"{load_spec('v1-wide').title}, changed: mixer.splits"
    assert load_spec(path).title == title
    assert load_spec("v1-wide", ("mixer.splits=[[up, down]]",)).title == title


def test_any_number_of_specs_may_extend_each_other(tmp_path):
    write(tmp_path / "0.yaml", "extends: v2-small\nclasses: 10\n")
    for number in range(1, 1200):
        write(tmp_path / f"{number}.yaml", f"extends: {number - 1}.yaml\n")
    spec = load_spec(tmp_path / "1199.yaml")
    assert (spec.name, spec.classes) == ("1199", 10)


def test_built_in_specs_extend_each_other_and_keep_their_papers():
    assert not any("changed" in load_spec(name).title + load_spec(name).source for name in names())


def test_a_spec_at_its_own_size_is_the_spec():
    spec = load_spec("v2-small")
    assert with_input_size(spec, (224, 224)) is spec
