"""Counts as text, whole, at fixed widths."""

import pytest

from s2mlp_cli.records.audit import AuditCell
from s2mlp_cli.records.count import (
    CountRecord,
    CountResult,
    CrossCheck,
    ModuleCount,
    OperatorCount,
    ShiftCost,
    Uncounted,
    Unsupported,
)
from s2mlp_cli.views.count import sheet, view
from s2mlp_cli.views.modules import folded_modules
from s2mlp_cli.views.sheet import to_csv, to_markdown
from tests import samples
from tests.views import shown


def published(quantity, printed, computed, difference, **other):
    return AuditCell(
        paper="a paper", table="1", row="small", quantity=quantity, printed=printed,
        computed=computed, difference=difference, **{"verdict": "agrees", **other},
    )  # fmt: skip


def result(**changes):
    fields = {
        "model": "tiny",
        "title": "Tiny/7",
        "family": "s2mlp",
        "spec": {},
        "input_size": (224, 192),
        "batch_size": 1,
        "shift": "conv",
        "params": 25_113_448,
        "params_without_head": 24_728_448,
        "params_norm": 30_000,
        "macs": 6_940_695_552,
        "macs_matmul": 6_901_767_168,
        "macs_head": 384_000,
        "elementwise": 52_588_032,
        "activations": 17_617_384,
        "shift_cost": ShiftCost(
            macs=38_928_384, bytes_moved=77_611_008, bytes_least=34_603_008, itemsize=4
        ),
        "crosscheck": CrossCheck(
            fvcore=6_901_767_168, closed_form=6_901_767_168, flop_counter=6_901_767_168
        ),
        "by_operator": (
            OperatorCount(operator="linear", calls=109, macs=6_797_368_320, elementwise=0,
                          activations=17_322_472),
            OperatorCount(operator="gelu", calls=36, macs=0, elementwise=6_489_600, activations=0),
        ),
        "by_module": (
            ModuleCount(module="", kind="S2MLP", params=25_113_448, macs=6_901_767_168,
                        elementwise=52_588_032, activations=17_617_384),
            ModuleCount(module="stages", kind="Sequential", params=24_727_680, macs=6_901_383_168,
                        elementwise=52_000_000, activations=17_616_384),
            ModuleCount(module="stages.0", kind="Sequential", params=1_609_536, macs=1_000,
                        elementwise=5, activations=7),
            ModuleCount(module="head", kind="Linear", params=385_000, macs=384_000, elementwise=0,
                        activations=1000),
        ),
        "uncounted": (),
        "published": (
            published("params", "25M", 25_113_448, 0.0045),
            published("flops", "5.7B", 6_901_767_168, 0.21, verdict="differs",
                      reason="its settings do not give it"),
        ),
    }  # fmt: skip
    return CountResult.model_validate({**fields, **changes})


def record(*results):
    return CountRecord.model_validate(samples.frame("count", *results))


def test_one_model_at_80_columns():
    assert (
        shown(view(record(result())), 80)
        == """\
Tiny/7 at 224x192: 25.11 M parameters, 6.902 G MACs (published: 25M parameters,
5.7B MACs)

Quantity                     Value  Published  Difference  Verdict
parameters                 25.11 M        25M       +0.4%  agrees
  without the classifier   24.73 M
MACs                       6.902 G       5.7B      +21.0%  differs
  as executed with 'conv'  6.941 G
conv/linear outputs        17.62 M
element-wise operations    52.59 M

Why a figure does not simply agree
a paper table 1, small, 5.7B, differs: its settings do not give it

1 MAC = one multiply-add: what the papers call a FLOP.
The shift 'conv' executes 38.93 M MACs and moves 74.02 MiB at 4 bytes per value;
one read and one write of each shifted map would be 33.00 MiB.
fvcore, closed form and FlopCounterMode agree: 6,901,767,168 MACs.
"""
    )


def test_several_models_at_80_columns():
    plain = result(model="other", published=(), title="", batch_size=1)
    assert (
        shown(view(record(result(), plain)), 80)
        == """\
2 models, from 6.902 G MACs (tiny) to 6.902 G (tiny)

224x192, batch 1, shift conv
                as paper
Model   Params    counts     MACs  Published  Verdict
tiny   25.11 M   25.11 M  6.902 G  25M, 5.7B  parameters: agrees
                                              MACs: differs
other  25.11 M            6.902 G

Why a figure does not simply agree
a paper table 1, small, 5.7B, differs: its settings do not give it

1 MAC = one multiply-add: what the papers call a FLOP.
For every model all methods agree to the last unit.
"""
    )


def test_what_could_not_be_built_is_a_row_with_its_reason():
    refusal = Unsupported(model="tiny", input_size=(112, 112), reason="takes 224x192 only")
    counted = record(result(published=()), result(model="other", published=()))
    counted = counted.model_copy(update={"refused": (refusal,)})
    assert (
        shown(view(counted), 80)
        == """\
2 models, from 6.902 G MACs (tiny) to 6.902 G (tiny); 1 unsupported

224x192, batch 1, shift conv
Model   Params     MACs  Without head  MACs as executed  Activations
tiny   25.11 M  6.902 G       24.73 M           6.941 G      17.62 M
other  25.11 M  6.902 G       24.73 M           6.941 G      17.62 M

Unsupported
tiny, 112x112: takes 224x192 only

1 MAC = one multiply-add: what the papers call a FLOP.
For every model all methods agree to the last unit.
"""
    )
    table = to_csv(sheet(counted)).splitlines()
    assert table[0].endswith(",crosscheck,not_built")
    assert [line.rpartition(",")[2] for line in table[1:]] == ["takes 224x192 only", "", ""]
    assert table[1].startswith("tiny,,112x112,,")


def test_by_operator_too_says_what_could_not_be_built():
    refusal = Unsupported(model="tiny", input_size=(112, 112), reason="takes 224x192 only")
    counted = record(result(published=())).model_copy(update={"refused": (refusal,)})
    for by in ("operator", "module"):
        lines = shown(view(counted, by=by), 80).splitlines()
        assert "tiny, 112x112: takes 224x192 only" in lines


def test_one_model_at_several_sizes_is_told_by_its_size():
    large = result(input_size=(448, 384), macs_matmul=27_600_000_000, published=())
    refusal = Unsupported(model="tiny", input_size=(9, 9), reason="takes multiples of 14")
    counted = record(result(published=()), large).model_copy(update={"refused": (refusal,)})
    assert shown(view(counted), 100).splitlines()[0] == (
        "1 model at 2 sizes, from 6.902 G MACs (224x192) to 27.60 G (448x384); 1 unsupported"
    )
    both = record(*counted.results, result(model="other", published=()))
    assert shown(view(both), 100).splitlines()[0] == (
        "2 models at 2 sizes, from 6.902 G MACs (tiny at 224x192) to 27.60 G (tiny at 448x384)"
    )


def test_by_operator_and_by_module():
    counted = record(result(published=(), shift_cost=None))
    assert (
        shown(view(counted, by="operator"), 90)
        == """\
Tiny/7 at 224x192: 25.11 M parameters, 6.902 G MACs

tiny: operators
Operator  Calls     MACs  Share %  Element-wise  Activations
linear      109  6.797 G     98.5                    17.32 M
gelu         36                         6.490 M

1 MAC = one multiply-add: what the papers call a FLOP.
fvcore, closed form and FlopCounterMode agree: 6,901,767,168 MACs.
"""
    )
    assert (
        shown(view(counted, by="module", depth=2), 90)
        == """\
Tiny/7 at 224x192: 25.11 M parameters, 6.902 G MACs

tiny: modules
Module     Params     MACs  Share %  Element-wise  Activations  Kind
model     25.11 M  6.902 G    100.0       52.59 M      17.62 M  S2MLP
  stages  24.73 M  6.901 G    100.0       52.00 M      17.62 M  Sequential
    0     1.610 M  1.000 k      0.0             5            7  Sequential
  head    385.0 k  384.0 k      0.0                    1.000 k  Linear

1 MAC = one multiply-add: what the papers call a FLOP.
fvcore, closed form and FlopCounterMode agree: 6,901,767,168 MACs.
"""
    )
    assert "    0 " not in shown(view(counted, by="module", depth=1))


def modules(*names, **different):
    return tuple(
        ModuleCount(
            module=name, kind="Linear", params=different.get(name.replace(".", "_"), 6), macs=36,
            elementwise=0, activations=6, input_shape=(1, 2, 6), output_shape=(1, 2, 6),
        )
        for name in names
    )  # fmt: skip


BLOCKS = ("", "blocks", *(f"blocks.{n}{part}" for n in range(4) for part in ("", ".fc")), "head")


def test_equal_neighbours_are_one_row_and_csv_keeps_each():
    counted = record(result(by_module=modules(*BLOCKS), published=()))
    text = shown(view(counted, by="module"), 80)
    rows = text.partition("Module ")[2].partition("Shapes are those of one image.")[0]
    assert [line.split("  2×6")[0].rstrip() for line in rows.splitlines()[1:]] == [
        "model", "  blocks", "    blocks.0-3, each", "      fc", "  head",
    ]  # fmt: skip
    assert len(to_csv(sheet(counted, by="module")).splitlines()) == 1 + len(BLOCKS)


def test_a_block_that_differs_inside_has_a_row_of_its_own():
    counted = result(by_module=modules(*BLOCKS, blocks_1_fc=7))
    labels = [label.strip("\u00a0") for label, _ in folded_modules(counted)]
    assert labels == ["model", "blocks", "0", "fc", "1", "fc", "blocks.2-3, each", "fc", "head"]


def test_modules_may_be_inside_each_other_to_any_depth():
    names = [".".join("0" * level) for level in range(1200)]
    assert len(list(folded_modules(result(by_module=modules(*names))))) == 1200


def test_a_shared_parameter_is_marked():
    shares = ModuleCount(module="out", kind="Linear", params=0, macs=36, elementwise=0,
                         activations=6, shared="in.weight")  # fmt: skip
    text = shown(view(record(result(by_module=(*modules("", "in"), shares))), by="module"), 80)
    assert "  out (shares in.weight)" in text


def test_the_parts_of_a_module_that_is_used_again_are_not_repeated():
    again = [
        ModuleCount(module=name, kind="Linear", params=0, macs=0, elementwise=0, activations=0,
                    shared=first)
        for name, first in (("again", "block"), ("again.fc", "block.fc"))
    ]  # fmt: skip
    counted = result(by_module=(*modules("", "block", "block.fc"), *again))
    labels = [label.strip("\u00a0") for label, _ in folded_modules(counted)]
    assert labels == ["model", "block", "fc", "again (shares block)"]


def test_what_is_not_counted_is_in_csv_and_markdown_of_every_side():
    operator = Uncounted(operator="aten::fft", calls=3, reason="no rule")
    refused = (Unsupported(model="tiny", input_size=(9, 9), reason="takes multiples of 14"),)
    counted = record(result(uncounted=(operator,), notes=("on the CPU",)))
    counted = CountRecord(**{**dict(counted), "refused": refused})
    for by in ("model", "operator", "module"):
        for text in (to_csv(sheet(counted, by=by)), to_markdown(sheet(counted, by=by))):
            assert "aten::fft" in text, by
            assert "takes multiples of 14" in text, by
    assert "tiny,aten::fft,3,,,,,no rule," in to_csv(sheet(counted, by="operator"))
    assert to_csv(sheet(counted)).splitlines()[0].endswith(",uncounted,notes,not_built")


def test_what_is_left_out_and_what_disagrees_is_said():
    counted = record(
        result(
            uncounted=(Uncounted(operator="aten::fft", calls=3, reason="no rule"),),
            crosscheck=CrossCheck(fvcore=5, closed_form=None, flop_counter=6),
        )
    )
    text = " ".join(shown(view(counted)).split())
    assert "tiny: aten::fft is not counted (3 calls): no rule" in text
    assert "! tiny: the methods DISAGREE: fvcore 5, FlopCounterMode 6 MACs" in text


@pytest.mark.parametrize(
    ("closed_form", "said"),
    [
        (5, ("3 methods", "agree", "fvcore, closed form, FlopCounterMode")),
        (6, ("3 methods", "differ", "fvcore, closed form, FlopCounterMode")),
        (None, ("2 methods", "agree", "fvcore, FlopCounterMode")),
    ],
)
def test_only_the_methods_that_apply_are_said_to_agree(closed_form, said):
    check = CrossCheck(fvcore=5, closed_form=closed_form, flop_counter=5)
    *_, last = view(record(result(crosscheck=check))).key_figures()
    assert (last.title, last.value, last.remark) == said


def test_csv_and_markdown_hold_raw_numbers():
    found = sheet(record(result()))
    assert to_csv(found).splitlines()[1] == (
        "tiny,Tiny/7,224x192,1,conv,25113448,24728448,6940695552,6901767168,17617384,52588032,"
        "25M,5.7B,agree"
    )
    assert to_markdown(found).splitlines()[1].count("---:") == 7


def test_csv_of_one_side_has_a_row_for_each_part():
    counted = record(result())
    assert to_csv(sheet(counted, by="operator")).splitlines() == [
        "model,operator,calls,macs,elementwise,activations",
        "tiny,linear,109,6797368320,0,17322472",
        "tiny,gelu,36,0,6489600,0",
    ]
    modules = to_csv(sheet(counted, by="module", depth=1)).splitlines()
    assert [line.split(",")[1] for line in modules] == ["module", "", "stages", "head"]


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_narrow_terminal_keeps_every_number_whole(width):
    text = shown(view(record(result(), result(model="other"))), width)
    for cell in ("25.11 M", "6.902 G", "25M, 5.7B"):
        assert text.count(cell) >= 2, cell
    words = shown(view(record(result())), width).split()
    assert {"parameters", "operations", "25.11", "6.941", "differs"} <= set(words)


def test_the_figure_that_a_paper_counts_stands_in_its_own_row():
    figure = published("params", "24M", 24_100_000, 0.004)
    text = shown(view(record(result(published=(figure,)))), 80)
    assert "as the paper counts 24.10 M 24M +0.4% agrees" in " ".join(text.split())


def test_no_line_is_wider_than_the_terminal():
    many = record(*(result(model=f"v1-directions-{index}") for index in range(3)))
    for width in (80, 100, 200):
        assert max(map(len, shown(view(many), width).splitlines())) <= width
