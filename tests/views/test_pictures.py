"""Pictures: text stays text, the same numbers give the same bytes, dark screens are served."""

import itertools
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from s2mlp_cli.views.svg import bars, canvas, lines, points

DRAWN = {
    "accuracy": lambda: points.scatter(
        [
            points.Mark("S2-MLPv2", "Small", 6.9, 82.0),
            points.Mark("ViT", "B", 17, 79.7, filled=True),
        ],
        "GMACs", False, "Accuracy",
    ),
    "bandwidth": lambda: bars.grouped(
        {"slice": {"a": 4.0, "b": 3.0}, "conv": {"a": 2.0}}, "GB/s", "Bandwidth", ("copy", 9.0)
    ),
    "batch": lambda: lines.batches(
        {"slice": [lines.Point(8, 0.02, (0.01, 0.03), 2**29), lines.Point(1, 0.03, None, 2**28)],
         "conv": [lines.Point(1, 0.04)]}, "Batches",
    ),
    "classes": lambda: bars.classes([("cat", 0.8), ("dog", 0.7)], 0.75, "Classes"),
    "classes (many)": lambda: bars.classes([(str(n), n / 100) for n in range(100)], 0.5, "Many"),
    "reliability": lambda: lines.reliability(
        [lines.Bin(0.4, 0.5, 10), lines.Bin(0.9, 0.8, 90)], "Calibration"
    ),
    "modules": lambda: bars.modules([("stages.0.mixer", 10, 20), ("head", 1, 2)], "Modules"),
    "speeds": lambda: bars.speeds(
        [bars.Bar("slice", 40, (39, 41), (38.0, 42.0)), bars.Bar("conv", 20, None, (20.0,)),
         bars.Bar("none", 56, hollow=True), bars.Bar("fused", 50)],
        "images/s", "Speeds of today",
    ),
    "trend": lambda: lines.trend(
        ["a", "b", "c"], {"slice": [1.0, None, 1.1], "conv": [0, 0, 0]}, "Trend"
    ),
}  # fmt: skip

WORDS = {
    "accuracy": ["GMACs", "top-1 (%)", "S2-MLPv2", "ViT", "Small", "B", "Accuracy"],
    "bandwidth": ["slice", "conv", "copy", "GB/s", "Bandwidth"],
    "batch": ["batch size", "ms per image (95 % interval)", "peak memory, MiB", "slice", "conv"],
    "classes": ["cat", "dog"],
    "classes (many)": ["top-1 (%)"],
    "reliability": ["correct (%)", "images", "Calibration"],
    "modules": ["stages.0.mixer", "head", "parameters", "MACs"],
    "speeds": ["slice", "none", "40.00", "56.00", "20.00 (n = 1)", "Speeds of today",
               "images/s; line: 95 % interval; dots: samples; hollow: not a true shift"],
    "trend": ["change (%)", "a", "b", "c", "slice"],
}  # fmt: skip


def words(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if
            node.tag.endswith("text")]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_text_is_kept_as_text(name):
    found = words(DRAWN[name]().svg())
    assert set(WORDS[name]) <= set(found)


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_picture(name):
    svg = DRAWN[name]().svg()
    assert svg == DRAWN[name]().svg()
    assert "<metadata" not in svg
    assert "20" not in re.findall(r"<!--(.*?)-->", svg)


def test_the_same_bytes_in_another_process():
    code = (
        "import sys; from s2mlp_cli.views.svg import bars; "
        "sys.stdout.write(bars.modules([('stages.0.mixer', 10, 20), ('head', 1, 2)], 'Modules').svg())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == DRAWN["modules"]().svg()


@pytest.mark.parametrize("name", DRAWN)
def test_every_colour_has_one_for_dark_screens(name):
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", DRAWN[name]().svg()))
    assert used
    assert used <= set(canvas.DARK)


def test_a_file_of_its_own_brings_its_dark_colours():
    svg = canvas.standalone(DRAWN["modules"]().svg())
    ElementTree.fromstring(svg.encode())
    assert "prefers-color-scheme: dark" in svg


def test_ids_of_two_pictures_on_a_page_differ():
    svg = canvas.with_prefix(DRAWN["modules"]().svg(), "p1")
    ids = set(re.findall(r' id="([^"]+)"', svg))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    assert used == ids
    assert ids
    assert all(each.startswith("p1-") for each in ids)


def test_names_from_outside_are_escaped_and_never_formulas():
    name = "<script>$\\frac$ & \u00e9</script>"
    assert name in words(bars.grouped({name: {"a": 1.0}}, "ms", "T").svg())


def test_the_fastest_stands_on_top_and_references_are_hollow():
    svg = DRAWN["speeds"]().svg()
    assert svg.index(">none<") < svg.index(">slice<")
    bars = re.findall(r'style="fill: (\S+); stroke: #2f6fb3', svg)
    assert bars[0] == "none"
    assert "fill: #2f6fb3" in svg


def test_a_picture_leaves_the_settings_of_matplotlib_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    DRAWN["bandwidth"]().svg()
    assert dict(mpl.rcParams) == before


def test_a_long_name_leaves_room_for_its_picture():
    name = "stages." + "x" * 3000 + ".mixer"
    (found,) = (
        text
        for text in words(bars.grouped({name: {"a": 1.0}}, "ms", "T").svg())
        if text.startswith("stages.")
    )
    assert len(found) < 50
    assert found.endswith(".mixer")


def test_letters_of_all_scripts_are_kept_and_what_does_not_print_is_escaped():
    found = words(bars.classes([("\u732b\x00", 0.8), ("dog", 0.7)], 0.75, "T").svg())
    assert "\u732b\\x00" in found


def test_one_sample_draws_no_interval_and_more_are_dots():
    plain = bars.speeds([bars.Bar("a", 2.0, None, (2.0,))], "images/s", "T").svg()
    assert "95 %" not in plain
    assert "dots" not in plain
    many = bars.speeds(
        [bars.Bar("a", 2.0, (1.9, 2.1), tuple(map(float, range(1000))))], "x", "T"
    ).svg()
    assert 0 < many.count("<use") < 100


def test_fused_has_a_colour_of_its_own_in_every_picture():
    own = canvas.OWN["fused"]
    names = [*"abcdefgh", "fused"]
    assert canvas.colours(names)["fused"] == own
    assert own not in {canvas.colours(names)[name] for name in names[:-1]}
    assert own in DRAWN["speeds"]().svg()


def test_no_two_of_sixteen_lines_look_the_same():
    looks = canvas.looks([f"series {number}" for number in range(16)])
    keys = {(look["color"], look["marker"], look["linestyle"]) for look in looks.values()}
    assert len(keys) == 16
    assert len(set(canvas.colours("abcdefgh").values())) == 8


def test_the_pareto_front_holds_what_nothing_beats_in_both():
    marks = [points.Mark("f", name, x, y) for name, x, y in
             (("cheap", 1, 70), ("worse", 2, 69), ("good", 3, 80), ("dear", 9, 80))]  # fmt: skip
    assert [mark.label for mark in points.pareto_front(marks, False)] == ["cheap", "good"]
    assert [mark.label for mark in points.pareto_front(marks, True)] == ["dear"]


def test_no_name_covers_another_or_a_mark():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = {
        "EfficientNet-B5": (10.3, 84.0), "Nest-B": (17.9, 83.8), "PvTv2-B4": (10.1, 83.6),
        "Swin-B": (15.4, 83.3), "ViP-Large/7": (24.4, 83.2), "GFNet-H-B": (8.5, 82.9),
        "TNT-B": (14.1, 82.8), "ViP-Medium/7": (16.3, 82.7), "PiT-B/16": (12.4, 82.0),
        "EfficientNet-B3": (1.8, 81.6), "DeiT-B/16": (17.5, 81.8),
    }  # fmt: skip
    marks = [points.Mark("f", name, x, y) for name, (x, y) in models.items()]
    drawing = points.scatter(marks, "GMACs", False, "Accuracy")
    figure = Figure(figsize=(canvas.WIDTH, drawing.height), layout="constrained")
    FigureCanvasAgg(figure)
    drawing.plot(figure)
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(models)
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    spots = axes.transData.transform(list(models.values()))
    assert not [(box, spot) for box in boxes for spot in spots if box.contains(*spot)]


@pytest.mark.parametrize(
    ("form", "start"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")]
)
def test_a_picture_as_a_file_is_the_same_every_time(form, start):
    found = DRAWN["modules"]().file(form)
    assert found.startswith(start)
    assert found == DRAWN["modules"]().file(form)


def test_a_legend_of_long_names_has_fewer_columns_than_one_of_short_names():
    assert canvas.legend_columns(["slice", "fused"]) == 4
    assert canvas.legend_columns(["slice", "concat (onnxruntime)"]) == 2
    assert canvas.legend_columns(["x" * 200]) == 2
