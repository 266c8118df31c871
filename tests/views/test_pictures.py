"""Pictures: text stays text, the same numbers give the same bytes, dark screens are served."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from s2mlp_cli.views.pictures import (
    accuracy,
    bandwidth,
    batch,
    canvas,
    classes,
    modules,
    scopes,
    throughput,
    trend,
)

DRAWN = {
    "accuracy": lambda: accuracy.svg(
        [
            accuracy.Point("S2-MLPv2", "Small", 6.9e9, 25e6, 82.0),
            accuracy.Point("ViT", "B", 17e9, 86e6, 79.7, measured=True),
        ]
    ),
    "bandwidth": lambda: bandwidth.svg({"slice": {"a": 4e9, "b": 3e9}, "conv": {"a": 2e9}}, 9e9),
    "batch": lambda: batch.svg(
        {"slice": [batch.Point(8, 0.02, 2**29), batch.Point(1, 0.03, 2**28)],
         "conv": [batch.Point(1, 0.04)]}
    ),
    "classes": lambda: classes.svg([("cat", 0.8), ("dog", 0.7)], 0.75),
    "classes (many)": lambda: classes.svg([(str(n), n / 100) for n in range(100)], 0.5),
    "modules": lambda: modules.svg([("stages.0.mixer", 10, 20), ("head", 1, 2)]),
    "scopes": lambda: scopes.svg([("stage", 0.2), ("shift", 0.02)]),
    "throughput": lambda: throughput.svg(
        [throughput.Bar("slice", 40, (39, 41)), throughput.Bar("none", 56, reference=True)],
        "images/s",
    ),
    "trend": lambda: trend.svg(["a", "b", "c"], {"slice": [1.0, None, 1.1], "conv": [0, 0, 0]}),
}  # fmt: skip

WORDS = {
    "accuracy": ["GMACs", "M parameters", "top-1 (%)", "S2-MLPv2", "ViT"],
    "bandwidth": ["slice", "conv", "copy, measured", "GB/s, one read and one write"],
    "batch": ["batch size", "ms per image", "peak memory, MiB", "slice", "conv"],
    "classes": ["cat", "dog"],
    "classes (many)": ["top-1 (%)"],
    "modules": ["stages.0.mixer", "head", "parameters", "MACs"],
    "scopes": ["stage", "shift"],
    "throughput": ["slice", "none", "images/s", "40.00", "56.00"],
    "trend": ["change (%)", "a", "b", "c", "slice"],
}


def words(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if
            node.tag.endswith("text")]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_text_is_kept_as_text(name):
    found = words(DRAWN[name]())
    assert set(WORDS[name]) <= set(found)


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_picture(name):
    svg = DRAWN[name]()
    assert svg == DRAWN[name]()
    assert "<metadata" not in svg
    assert "20" not in re.findall(r"<!--(.*?)-->", svg)


def test_the_same_bytes_in_another_process():
    code = (
        "import sys; from s2mlp_cli.views.pictures import modules; "
        "sys.stdout.write(modules.svg([('stages.0.mixer', 10, 20), ('head', 1, 2)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == DRAWN["modules"]()


@pytest.mark.parametrize("name", DRAWN)
def test_every_colour_has_one_for_dark_screens(name):
    used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", DRAWN[name]()))
    assert used
    assert used <= set(canvas.DARK)


def test_a_file_of_its_own_brings_its_dark_colours():
    svg = canvas.standalone(DRAWN["modules"]())
    ElementTree.fromstring(svg.encode())
    assert "prefers-color-scheme: dark" in svg


def test_ids_of_two_pictures_on_a_page_differ():
    svg = canvas.with_prefix(DRAWN["modules"](), "p1")
    ids = set(re.findall(r' id="([^"]+)"', svg))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    assert used == ids
    assert ids
    assert all(each.startswith("p1-") for each in ids)


def test_names_from_outside_are_escaped_and_never_formulas():
    name = "<script>$\\frac$ & \u00e9</script>"
    assert name in words(scopes.svg([(name, 1.0)]))


def test_the_fastest_stands_on_top_and_references_are_hollow():
    svg = DRAWN["throughput"]()
    assert svg.index(">none<") < svg.index(">slice<")
    bars = re.findall(r'style="fill: (\S+); stroke: #2f6fb3', svg)
    assert bars[0] == "none"
    assert "fill: #2f6fb3" in svg


def test_a_picture_leaves_the_settings_of_matplotlib_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    DRAWN["scopes"]()
    assert dict(mpl.rcParams) == before


def test_a_long_name_leaves_room_for_its_picture():
    name = "stages." + "x" * 3000 + ".mixer"
    (found,) = (text for text in words(scopes.svg([(name, 1.0)])) if text.startswith("stages."))
    assert len(found) < 50
    assert found.endswith(".mixer")


def test_letters_of_all_scripts_are_kept_and_what_is_no_letter_is_not():
    found = words(classes.svg([("\u732b\x00", 0.8), ("dog", 0.7)], 0.75))
    assert "\u732b" in found
