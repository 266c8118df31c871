"""Every kind of wrong spec gets one sentence: file, line, key, found, allowed, nearest name."""

import time

import pytest

from s2mlp_cli.errors import SpecError
from s2mlp_cli.specs import load_spec

DIRECTIONS = "'up', 'down', 'left', 'right', 'up-left', 'up-right', 'down-left' or 'down-right'"

CASES = {
    "unknown key": (
        "extends: v2-small\ndept: 3\nnorms: {}\n",
        "{file}:2: dept: found an unknown key; allowed: extends, set, family, name, title, source, "
        "input_size, in_channels, classes, stages, norm, patch_norm, head_norm, mixer",
    ),
    "unknown nested key with its nearest name": (
        "extends: v2-small\nmixer:\n  reductoin: 4\n",
        "{file}:3: mixer.reductoin: found an unknown key; did you mean 'reduction'? allowed: "
        "splits, activation, fusion, reduction, attention_bias",
    ),
    "wrong type": (
        "extends: v2-small\nclasses: many\n",
        "{file}:2: classes: found 'many'; allowed: a whole number",
    ),
    "a list where a mapping belongs": (
        "extends: v2-small\nnorm: [layer]\n",
        "{file}:2: norm: found a list of 1; allowed: a mapping of keys",
    ),
    "missing key": (
        "extends: v2-small\nstages:\n  - {patch: 7, dim: 192, depth: 4}\n",
        "{file}:3: stages.0.expansion: found nothing; allowed: hidden channels of the channel MLP, "
        "over C",
    ),
    "a misspelt key that is then missing": (
        "extends: v2-small\nstages:\n  - {patch: 7, dim: 192, depth: 4, expansoin: 3}\n",
        "{file}:3: stages.0.expansoin: found an unknown key; did you mean 'expansion'? allowed: "
        "patch, dim, depth, expansion",
    ),
    "syntax error": (
        "extends: v2-small\nnorm: {kind: layer\n",
        "{file}:3: not valid YAML: expected ',' or '}}', but got '<stream end>'; mend the syntax",
    ),
    "unknown base": (
        "title: x\nextends: v2-smal\n",
        "{file}:2: extends: there is no model 'v2-smal'; did you mean 'v2-small' or 'v2-small-14'? "
        "`s2mlp models` lists them; a path to a YAML file and timm:NAME work too",
    ),
    "extends of the wrong type": (
        "extends: [v1-wide]\n",
        "{file}:1: extends: found ['v1-wide']; allowed: one name or path",
    ),
    "channels that do not divide": (
        "extends: v1-wide\nset:\n  stages.0.dim: 770\n",
        "{file}:3: stages.0.dim: found 770 channels for 4 directions, each of as many channels; "
        "allowed: a multiple of 4",
    ),
    "channels that the reduction does not divide": (
        "extends: v2-small\nmixer: {splits: [[up], []]}\nset: {stages.1.dim: 386}\n",
        "{file}:3: stages.1.dim: found 386 channels for mixer.reduction = 4; allowed: a "
        "multiple of 4",
    ),
    "patches that do not divide the image": (
        "extends: v2-small\ninput_size: [224, 200]\n",
        "{file}:2: input_size: found 224x200, which the patches of stage 0 do not divide; allowed: "
        "multiples of 14, such as 224x196",
    ),
    "an image that is smaller than a patch": (
        "extends: v2-small\ninput_size: 5\n",
        "{file}:2: input_size: found 5x5, which the patches of stage 0 do not divide; allowed: "
        "multiples of 14, such as 14x14",
    ),
    "zero": (
        "extends: v2-small\nset: {stages.0.depth: 0}\n",
        "{file}:2: stages.0.depth: found 0; allowed: at least 1",
    ),
    "negative": (
        "extends: v2-small\ninput_size: -224\n",
        "{file}:2: input_size.0: found -224; allowed: at least 1",
    ),
    "absurdly large": (
        "extends: v2-small\nset: {stages.0.dim: 99999999999}\n",
        "{file}:2: stages.0.dim: found 99999999999; allowed: at most 65,536",
    ),
    "a boolean for a number": (
        "extends: v2-small\nclasses: yes\n",
        "{file}:2: classes: found True; allowed: a whole number",
    ),
    "infinity": (
        "extends: v1-wide\nnorm: {eps: .inf}\n",
        "{file}:2: norm.eps: found inf; allowed: at most 0.01",
    ),
    "unknown direction": (
        "extends: v1-wide\nmixer: {splits: [[dwn, up]]}\n",
        "{file}:2: mixer.splits.0.0: found 'dwn'; allowed: "
        + DIRECTIONS
        + "; did you mean 'down'?",
    ),
    "no splits": (
        "extends: v1-wide\nmixer: {splits: []}\n",
        "{file}:2: mixer.splits: found a list of 0; allowed: at least 1 of them",
    ),
    "fusion of one split": (
        "extends: v1-wide\nmixer: {fusion: mean}\n",
        "{file}:2: mixer.fusion: found 'mean' for 1 split; allowed: none for that many splits",
    ),
    "no fusion of several splits": (
        "extends: v2-small\nmixer: {fusion: none}\n",
        "{file}:2: mixer.fusion: found 'none' for 3 splits; allowed: mean or split-attention for "
        "that many splits",
    ),
    "unknown family": (
        "title: x\nfamily: s2mpl\n",
        "{file}:2: family: found 's2mpl'; allowed: {families}; did you mean 's2mlp'?",
    ),
    "another family than the base's": (
        "extends: v1-wide\nfamily: vip\n",
        "{file}:2: family: found 'vip'; allowed: that of its base, 's2mlp'",
    ),
    "a patch that does not divide the base's image": (
        "extends: v2-small\nset: {stages.0.patch: 9}\n",
        "{file}:2: stages.0.patch: found 224x224, which the patches of stage 0 do not divide; "
        "allowed: multiples of 18, such as 216x216",
    ),
    "sizes that are absurd together": (
        "extends: v1-wide\ninput_size: 16384\nset: {stages.0.patch: 1, stages.0.dim: 65536}\n",
        "{file}:3: stages.0.dim: found a map of 70,368,744,177,664 values; allowed: at most "
        "274,877,906,944; lower input_size, dim or expansion",
    ),
    "an image size that is no number": (
        "extends: v2-small\ninput_size: 224x224\n",
        "{file}:2: input_size: found '224x224'; allowed: a number of pixels, or [height, width]",
    ),
    "a boolean for an image size": (
        "extends: v2-small\ninput_size: true\n",
        "{file}:2: input_size: found True; allowed: a number of pixels, or [height, width]",
    ),
    "an octal number of YAML 1.1": (
        "extends: v2-small\nclasses: 0100\n",
        "{file}:2: classes: found '0100'; allowed: a whole number",
    ),
    "a number in base 60 of YAML 1.1": (
        "extends: v2-small\nclasses: 1:30\n",
        "{file}:2: classes: found '1:30'; allowed: a whole number",
    ),
    "a base inside set": (
        "extends: v2-small\nset: {extends: v1-wide}\n",
        "{file}:2: extends cannot be set; write it at the top of a file",
    ),
    "a family inside set": (
        "extends: v2-small\nset: {family: vip}\n",
        "{file}:2: family cannot be set; write it at the top of a file",
    ),
    "set into an empty list": (
        "extends: v1-wide\nmixer: {splits: []}\nset: {mixer.splits.0: [up]}\n",
        "{file}:3: mixer.splits.0: found '0'; allowed: nothing, the list is empty",
    ),
    "a new key inside set": (
        "extends: v2-small\nset: {foo.bar: 1}\n",
        "{file}:2: foo: found an unknown key; allowed: {known}",
    ),
    "a base that is not there": (
        "title: x\nextends: nope.yaml\n",
        "{file}:2: extends: '{folder}/nope.yaml' cannot be read: No such file or directory; check "
        "the path",
    ),
    "a NUL in the path of a base": (
        'extends: "a\\0.yaml"\n',
        "{file}:1: extends: '{folder}/a\\x00.yaml' cannot be read: embedded null byte; check the "
        "path",
    ),
    "timm as a base": (
        "extends: timm:resnet50\n",
        "{file}:1: extends: found 'timm:resnet50'; allowed: a spec; write 'family: timm' and "
        "'timm: resnet50' instead",
    ),
    "a name that would paint the terminal": (
        'extends: v1-wide\nname: "\\e[31mred"\n',
        "{file}:2: name: found '\\x1b[31mred'; allowed: printable characters",
    ),
    "set that is no mapping": (
        "extends: v1-wide\nset: [1]\n",
        "{file}:2: set: found [1]; allowed: a mapping such as {{stages.0.depth: 2}}",
    ),
    "set into a single value": (
        "extends: v1-wide\nset: {norm.kind.x: 1}\n",
        "{file}:2: norm.kind is a single value, it has no 'x'",
    ),
    "set beyond a list": (
        "extends: v1-wide\nset: {stages.7.depth: 1}\n",
        "{file}:2: stages.7: found '7'; allowed: 0 to 0",
    ),
    "duplicate key": (
        "extends: v1-wide\ntitle: a\ntitle: b\n",
        "{file}:3: title: found twice; allowed: each key once",
    ),
    "empty file": (
        "",
        "{file}: found an empty file; allowed: a mapping of keys, such as 'extends: v2-small'",
    ),
    "only comments": (
        "# nothing\n",
        "{file}: found an empty file; allowed: a mapping of keys, such as 'extends: v2-small'",
    ),
    "a list": (
        "- 1\n",
        "{file}: found a list; allowed: a mapping of keys, such as 'extends: v2-small'",
    ),
    "alias": (
        "title: &a x\nsource: *a\n",
        "{file}:2: found the alias '*a'; allowed: no aliases, share by 'extends' instead",
    ),
    "deep nesting": (
        "title: " + "[" * 2000,
        "{file}:1: found more than 10 levels of nesting; a spec needs four",
    ),
    "a key that is no word": (
        "? [a]\n: 1\n",
        "{file}:1: found a key that is not a word",
    ),
    "a date that is none": (
        "title: 2024-99-99\n",
        "{file}:1: title: found '2024-99-99'; allowed: text, a number, true or false",
    ),
    "a Python object": (
        "title: !!python/object/apply:os.system ['true']\n",
        "{file}:1: found the tag 'tag:yaml.org,2002:python/object/apply:os.system'; "
        "allowed: no tags",
    ),
    "several documents": (
        "title: a\n---\ntitle: b\n",
        "{file}:2: not valid YAML: but found another document; mend the syntax",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), CASES.values(), ids=CASES)
def test_wrong_file(text, sentence, tmp_path):
    from s2mlp_cli.specs.loading import FAMILIES

    path = tmp_path / "model.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(str(path))
    assert str(caught.value) == sentence.format(
        file=path,
        folder=tmp_path,
        families=", ".join(FAMILIES),
        known="extends, set, " + ", ".join(FAMILIES["s2mlp"].model_fields),
    )


def test_binary_file(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(SpecError) as caught:
        load_spec(str(path))
    assert str(caught.value) == (
        f"{path}: found bytes that are not UTF-8 text; allowed: a YAML spec"
    )


def test_control_characters(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_bytes(b"title: \x00\x01\n")
    with pytest.raises(SpecError, match="special characters are not allowed"):
        load_spec(str(path))


def test_huge_file(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text("#" * 70_000, encoding="utf-8")
    with pytest.raises(SpecError, match=r"found 70,000 bytes; allowed: .* at most 65,536 bytes"):
        load_spec(str(path))


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SpecError, match="cannot be read|there is no model") as caught:
            load_spec(f"{path}/" if path == tmp_path else str(path))
        assert str(path) in str(caught.value)


def test_yaml_bomb_is_refused_before_it_grows(tmp_path):
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("l0: &l0 [lol]\n" + "\n".join(levels), encoding="utf-8")
    start = time.process_time()
    with pytest.raises(SpecError, match="found the alias"):
        load_spec(str(path))
    assert time.process_time() - start < 5  # it would take 10^11 steps to expand


def test_circle_of_bases(tmp_path):
    for name, base in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {base}.yaml\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(str(tmp_path / "a.yaml"))
    assert str(caught.value) == (
        f"{tmp_path}/c.yaml:1: extends: found a circle, a -> b -> c -> a; allowed: none"
    )


def test_a_fault_in_a_base_names_the_base(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: v1-wide\n\nclasses: 0\n", encoding="utf-8")
    (tmp_path / "child.yaml").write_text("extends: base.yaml\ntitle: x\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(str(tmp_path / "child.yaml"))
    assert str(caught.value) == f"{tmp_path}/base.yaml:3: classes: found 0; allowed: at least 1"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("depth", "--set depth for v2-small: found no '='; allowed: KEY=VALUE, stages.0.depth=2"),
        ("=2", "--set =2 for v2-small: found no key; allowed: KEY=VALUE, stages.0.depth=2"),
        (
            "stages.0.depth=x",
            "--set stages.0.depth=x for v2-small: stages.0.depth: found 'x'; allowed: a whole number",
        ),
        (
            "norm.kind=afine",
            "--set norm.kind=afine for v2-small: norm.kind: found 'afine'; allowed: 'layer' or 'affine'; did you mean 'affine'?",
        ),
        (
            "stages.x.dim=1",
            "--set stages.x.dim=1 for v2-small: stages.x: found 'x'; allowed: 0 to 1",
        ),
    ],
)
def test_wrong_overrides(override, sentence):
    with pytest.raises(SpecError) as caught:
        load_spec("v2-small", (override,))
    assert str(caught.value) == sentence


def test_bytes_that_are_not_utf8_are_blamed_on_the_option_that_has_them():
    with pytest.raises(
        SpecError, match=r"^--set b\\xff=1 for v2-small: b\\xff: found an unknown key"
    ):
        load_spec("v2-small", ("b\udcff=1",))
    assert load_spec("v2-small", ("title=\udcff",)).title == r"\xff"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("v2", "did you mean 'v2-small', 'v2-medium', 'v2-small-14', 'v2-splits-1-2', "
         "'v2-splits-1-3' or 'v2-sum-pooling'[?] `s2mlp models`"),
        ("v1", "did you mean 'v1-deep', 'v1-wide', .* or [0-9]+ more[?] "),
        ("sum", "did you mean 'v2-sum-pooling'[?] "),
        ("zzz", "no model 'zzz'; `s2mlp models` lists"),
    ],
)  # fmt: skip
def test_a_part_of_a_name_gets_the_names_that_begin_with_it_or_contain_it(name, words):
    with pytest.raises(SpecError, match=words):
        load_spec(name)


def test_unknown_model_gets_the_nearest_name():
    with pytest.raises(SpecError, match="there is no model 'v2-mediun'; did you mean 'v2-medium'?"):
        load_spec("v2-mediun")


def test_a_timm_model_that_is_not_there_names_the_file_and_line(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text("family: timm\nname: other\ntimm: resnt18\n", encoding="utf-8")
    with pytest.raises(SpecError, match=rf"^{path}:3: timm: timm .* no model 'resnt18'; did you"):
        load_spec(path)
    with pytest.raises(SpecError, match="^--set timm=resnt18 for mixer-b16: timm: timm .* has no"):
        load_spec("mixer-b16", ("timm=resnt18",))


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"title: \xff\n", b"#" * 2**20])
def test_a_base_that_is_no_spec_is_named_with_the_file_that_extends_it(tmp_path, content):
    (tmp_path / "base.yaml").write_bytes(content)
    path = tmp_path / "own.yaml"
    path.write_text("title: x\nextends: base.yaml\n")
    with pytest.raises(SpecError, match=r"own.yaml:2: extends: .*base.yaml: found"):
        load_spec(str(path))
