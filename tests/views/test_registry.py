"""From records to views: titles, tables, pictures; and what a new kind of record costs."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.output import emit
from s2mlp_cli.commands.report import command
from s2mlp_cli.compare import compare_records
from s2mlp_cli.records.reading import KINDS, Kind
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.views import html, markdown
from s2mlp_cli.views.modules import parts
from s2mlp_cli.views.registry import report, sheet, view
from s2mlp_cli.views.sheet import to_csv, to_markdown
from tests import samples
from tests.views import shown, weather


@pytest.fixture
def made_up(monkeypatch):
    """A kind that is a record, a view, and this line."""
    kind = Kind(f"{weather.__name__}:WeatherRecord", weather.__name__)
    monkeypatch.setitem(KINDS, "weather", kind)
    fields = samples.frame("weather", ("Basel", 7.0))
    return weather.WeatherRecord.model_validate(fields)


def test_a_new_kind_is_a_record_a_view_and_a_line(made_up):
    found = view(made_up)
    assert shown(found, 80) == (
        "Basel has 7.0 degrees.\n\nTowns\nTown   Degrees\nBasel      7.0\n\n! It may rain.\n"
    )
    assert to_csv(sheet(made_up)) == "town,degrees\nBasel,7.0\n"
    assert to_markdown(sheet(made_up)).endswith("| Basel | 7 |\n")
    assert "| Basel | 7.0 |" in markdown.document([found], "A", None)
    page = html.page([found], "A")
    assert "<td" in page
    assert ">degrees</text>" in page


@pytest.mark.parametrize("ending", [".html", ".md", ".txt"])
def test_the_report_command_shows_a_new_kind(made_up, ending, tmp_path):
    path = tmp_path / "w.json"
    path.write_text(made_up.to_json())
    target = tmp_path / f"w{ending}"
    CliRunner().invoke(command, [str(path), "-o", str(target)], catch_exceptions=False)
    assert "Basel has 7.0 degrees." in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("form", "made"),
    [("json", []), ("csv", ["sheet"]), ("markdown", ["sheet"]), ("table", ["view"]),
     ("latex", ["view"])],
)  # fmt: skip
def test_what_a_format_does_not_show_is_not_made(made_up, monkeypatch, form, made):
    asked = []

    def telling(name, make):
        return lambda *given: asked.append(name) or make(*given)

    for name in ("view", "sheet", "pictures", "details"):
        monkeypatch.setattr(weather, name, telling(name, getattr(weather, name)))
    emit(made_up, form, None)
    assert asked == made


VIEWS = Path(html.__file__).parents[1]
WRITERS = [
    *(VIEWS / f"{name}.py" for name in ("document", "terminal", "sheet", "markdown", "latex")),
    *(path for path in (VIEWS / "html").iterdir() if path.is_file()),
]


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: path.name)
def test_no_writer_knows_a_kind(path):
    words = set(re.findall(r"[a-z]+", path.read_text(encoding="utf-8").lower()))
    assert not words & set(KINDS)


@pytest.mark.parametrize("kind", samples.ALL)
def test_every_table_has_a_value_for_every_column(kind):
    for table in view(samples.ALL[kind]()).tables:
        assert all(len(row) == len(table.columns) for row in table.cells())
        printed = table.printed() if table.rows else None
        assert not printed or all(len(row) == len(printed.columns) for row in printed.rows)


def test_the_parts_of_a_model_add_up_to_it():
    result = samples.count().results[0]
    found = parts(result)
    assert found == [
        ("stages.0.mixer", 10_970_000, 2_869_000_000),
        ("stages.0.mlp", 13_000_000, 4_000_000_000),
        ("head", 1_000_000, 1_000_000),
        ("others", 30_000, 30_000_000),
    ]
    assert sum(part[1] for part in found) == result.params
    assert sum(part[2] for part in found) == result.macs


def test_titles_say_what_a_section_is_about():
    kinds = ("audit", "count", "profile", "validate", "trace", "verify")
    assert [view(samples.ALL[kind]()).title for kind in kinds] == [
        "Published figures, recomputed: S2-MLP",
        "Parameters and multiply-adds: S2-MLP v2-small",
        "Speed and memory: v2-small",
        "Accuracy: digits",
        "Where the time of a traced run goes: v2-small",
        "Implementations against the reference: cpu",
    ]


def test_many_models_are_counted_in_a_title():
    four = [samples.count(name).results[0] for name in "abcd"]
    record = samples.count().model_copy(update={"results": tuple(four)})
    assert view(record).title == "Parameters and multiply-adds: 4 models"


@pytest.mark.parametrize(
    ("names", "told"),
    [(("before", "count", "after"), ("before", "after")), (("a", "c", "a"), ("#1", "#3"))],
)
def test_no_two_sections_have_one_title(names, told):
    records = [samples.profile(), samples.count(), samples.profile(1.1)]
    assert [each.title for each in report(records, names)] == [
        f"Speed and memory: v2-small ({told[0]})",
        "Parameters and multiply-adds: S2-MLP v2-small",
        f"Speed and memory: v2-small ({told[1]})",
    ]


def pictures(record):
    return [picture.name for picture in view(record).pictures()]


def test_pictures_of_a_profile_follow_its_rows():
    assert pictures(samples.profile()) == [
        "speed-1", "speed-2", "bandwidth-1", "bandwidth-2", "batch-1",
    ]  # fmt: skip
    assert pictures(samples.profile(batches=(8,))) == ["speed-1", "bandwidth-1"]


@pytest.mark.parametrize("known", [True, False])
def test_a_picture_speaks_of_intervals_only_where_it_has_them(known):
    record = samples.profile(batches=(8,))
    if not known:
        rows = tuple(row.model_copy(update={"ci95_s": None}) for row in record.results)
        record = record.model_copy(update={"results": rows})
    picture = next(each for each in view(record).pictures() if each.name == "speed-1")
    assert ("95 % interval" in picture.description) is known
    assert ("95 % interval" in picture.drawing.svg()) is known


def whole_model(record):
    return next(table for table in view(record).tables if table.caption == "Whole model")


def test_what_is_the_same_in_all_rows_goes_into_the_caption():
    alone, both = (
        whole_model(samples.profile(batches=sizes)).printed() for sizes in ((8,), (1, 8))
    )
    assert (
        alone.caption == "Whole model: v2-small, cpu, fp32, batch 8, 224×224, inference, 2 threads"
    )
    assert "batch" not in both.caption
    assert [heading for heading, _ in both.groups] == ["batch 1", "batch 8"]


def test_what_was_not_timed_has_one_row_for_each_reason():
    record = samples.profile()
    skipped = record.results[-1]
    more = skipped.model_copy(update={"shift": "other"})
    rows = (*record.results, more, skipped.model_copy(update={"shift": "third", "skipped": "no"}))
    table = view(record.model_copy(update={"results": rows})).tables[-1]
    assert table.caption == "Not timed"
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("inplace, other", "wrong by 0.86: it is no shift"), ("third", "no"),
    ]  # fmt: skip


def test_a_series_has_a_picture_of_its_trend_and_a_pair_has_none():
    profiles = [samples.profile(slower) for slower in (1.0, 1.1, 1.2)]
    assert pictures(compare_records(["a", "b", "c"], profiles, None)) == ["trend"]
    assert pictures(compare_records(["a", "b"], profiles[:2], None)) == []


def imagenet(model, correct1=270):
    fields = json.loads(samples.validate(correct1).to_json())
    fields["results"][0]["model"] = model
    fields["results"][0]["ckpt"]["path"] = f"{model}.pth"
    fields["results"][0]["data"]["classes"] = 1000
    return ValidateRecord.model_validate_json(json.dumps(fields))


def with_accuracies():
    """An audit that carries what its rows print as accuracies."""
    record = samples.audit()
    cells = tuple(
        cell.model_copy(update={"top1": top1})
        for cell, top1 in zip(record.results, (80.0, 80.7, None), strict=True)
    )
    return record.model_copy(update={"results": cells})


def test_accuracy_over_cost_joins_what_the_records_know_of_each_model():
    found = report([samples.count("v1-wide"), imagenet("v1-wide"), with_accuracies()])[-1]
    assert found.title == "Accuracy over cost"
    rows = {(row[0], row[-1]): row for row in next(iter(found.details())).rows}
    assert rows["v1-wide", "measured"][1:6] == ("S2-MLP", 90.0, 6.9e9, 25e6, None)
    assert rows["wide", "published"][2:6] == (80.0, 6.9e9, 71_430_000, None)
    assert rows["deep", "published"][2:6] == (80.7, None, 53_480_000, None)
    assert found.answers[0].startswith("3 accuracies on ImageNet-1K, 1 measured and 2 published")
    assert [picture.name for picture in found.pictures()] == ["accuracy-macs", "accuracy-params"]
    drawn = list(found.pictures())[1].drawing.svg()
    assert {">v1-wide</text>", ">deep</text>"} <= set(re.findall(r">[\w-]+</text>", drawn))


def test_accuracies_of_other_classes_and_of_no_known_cost_are_left_out():
    assert len(report([samples.count("digits"), samples.validate()])) == 2
    assert len(report([imagenet("mine"), imagenet("yours")])) == 2


def test_a_report_reads_nothing_but_its_records():
    """What old records show must not depend on the papers' figures that are installed."""
    sources = [path.read_text(encoding="utf-8") for path in VIEWS.rglob("*.py")]
    assert not [text for text in sources if "s2mlp_cli.papers" in text]
