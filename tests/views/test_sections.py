"""From records to sections: the answer, the pictures that the rows allow, the parts of a model."""

import json

import pytest

from s2mlp_cli.compare import compare_records
from s2mlp_cli.records.count import PublishedFigure
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.views.terminal import to_text
from s2mlp_cli.views.kinds import renderer
from s2mlp_cli.views.sections import section, sections
from s2mlp_cli.views.sections.count import parts
from s2mlp_cli.views.sections.profile_pictures import pictures
from tests import samples


@pytest.mark.parametrize("kind", samples.ALL)
def test_the_answer_is_the_first_line_of_the_terminal(kind):
    record = samples.ALL[kind]()
    first = to_text(renderer(record).terminal(record), width=1000).splitlines()[0]
    assert section(record).answer.startswith(first)


@pytest.mark.parametrize("kind", samples.ALL)
def test_every_table_has_a_value_for_every_column(kind):
    for table in section(samples.ALL[kind]()).tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.cells())


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


def test_the_systems_compared_with_are_one_table_of_both_papers():
    figure = PublishedFigure(
        paper="v2", table="2", row="Small/7", quantity="flops", printed="6.9B", computed=6.902e9,
        difference=0.0, verdict="agrees",
    )  # fmt: skip
    baseline = figure.model_copy(update={"paper": "baselines", "table": "baselines"})
    (count,) = samples.count().results
    record = samples.count().model_copy(
        update={"results": (count.model_copy(update={"published": (figure, baseline)}),)}
    )
    (table,) = (each for each in section(record).tables if each.caption == "Published figures")
    assert [row[1:3] for row in table.rows] == [
        ("v2 table 2, Small/7", "MACs"), ("baselines, Small/7", "MACs"),
    ]  # fmt: skip


def test_titles_say_what_a_section_is_about():
    kinds = ("audit", "count", "profile", "validate", "trace", "verify")
    assert [section(samples.ALL[kind]()).title for kind in kinds] == [
        "Published figures, recomputed: S2-MLP",
        "Parameters and multiply-adds: S2-MLP v2-small",
        "Speed and memory: v2-small",
        "Accuracy: digits",
        "Where the time of a traced run goes: v2-small",
        "Implementations against the definition: cpu",
    ]


def test_many_models_are_counted_in_a_title():
    four = [samples.count(name).results[0] for name in "abcd"]
    record = samples.count().model_copy(update={"results": tuple(four)})
    assert section(record).title == "Parameters and multiply-adds: 4 models"


@pytest.mark.parametrize(
    ("sources", "told"),
    [(("before", "count", "after"), ("before", "after")), (("a", "c", "a"), ("#1", "#3"))],
)
def test_no_two_sections_have_one_title(sources, told):
    records = [samples.profile(), samples.count(), samples.profile(1.1)]
    assert [part.title for part in sections(records, sources)] == [
        f"Speed and memory: v2-small ({told[0]})",
        "Parameters and multiply-adds: S2-MLP v2-small",
        f"Speed and memory: v2-small ({told[1]})",
    ]


def names(record):
    return [picture.name for picture in section(record).pictures]


def test_pictures_of_a_profile_follow_its_rows():
    assert names(samples.profile()) == [
        "speed-1", "speed-2", "bandwidth-1", "bandwidth-2", "batch-1",
    ]  # fmt: skip
    assert names(samples.profile(batches=(8,))) == ["speed-1", "bandwidth-1"]


@pytest.mark.parametrize("known", [True, False])
def test_a_picture_speaks_of_intervals_only_where_it_has_them(known):
    record = samples.profile(batches=(8,))
    if not known:
        rows = tuple(row.model_copy(update={"ci95_s": None}) for row in record.results)
        record = record.model_copy(update={"results": rows})
    picture = next(each for each in pictures(record) if each.name == "speed-1")
    assert ("95 % interval" in picture.description) is known
    assert ("95 % interval" in picture.draw()) is known


def test_what_is_the_same_in_all_rows_stands_in_the_caption():
    alone, both = (section(samples.profile(batches=sizes)).tables[0] for sizes in ((8,), (1, 8)))
    assert (
        alone.caption == "Whole model: v2-small, cpu, fp32, batch 8, 224×224, inference, 2 threads"
    )
    assert "batch" not in both.caption
    assert [column.title for column in both.columns][:2] == ["Shift", "Batch"]


def test_what_was_not_timed_says_why():
    table = section(samples.profile()).tables[-1]
    assert table.caption == "Not timed"
    assert table.rows[0][0] == "inplace"
    assert table.rows[0][-1] == "wrong by 0.86: it is no shift"


def test_a_series_has_a_picture_of_its_trend_and_a_pair_has_none():
    profiles = [samples.profile(slower) for slower in (1.0, 1.1, 1.2)]
    assert names(compare_records(["a", "b", "c"], profiles, None)) == ["trend"]
    assert names(compare_records(["a", "b"], profiles[:2], None)) == []


def imagenet(model):
    fields = json.loads(samples.validate().to_json())
    fields["results"][0]["model"] = model
    fields["results"][0]["data"]["classes"] = 1000
    return ValidateRecord.model_validate_json(json.dumps(fields))


def test_accuracy_over_cost_takes_what_was_counted_and_validated():
    together = sections([samples.count("v2-small"), imagenet("v2-small")])[-1]
    assert together.title == "Accuracy over cost"
    measured = [row for row in together.tables[0].rows if row[-1] == "measured"]
    assert measured == [("v2-small", "S2-MLPv2", 90.0, 6.9e9, 25e6, "measured")]


def test_a_validated_model_stands_beside_the_published_ones_without_a_count_too():
    together = sections([imagenet("mixer-b16")])[-1]
    assert "1 of them measured here" in together.answer
    rows = {row[0]: row for row in together.tables[0].rows}
    assert rows["mixer-b16"] == ("mixer-b16", "other MLPs", 90.0, 11.6e9, 59e6, "measured")
    assert rows["Mixer-B/16"] == ("Mixer-B/16", "other MLPs", 76.4, 11.6e9, 59e6, "published")
    drawn = together.pictures[0].draw()
    assert drawn.count(">mixer-b16</text>") == 2
    assert ">measured here</text>" in drawn


def test_a_model_of_no_known_cost_is_not_drawn():
    assert len(sections([imagenet("mine")])) == 1


def test_accuracy_over_cost_keeps_other_classes_out():
    assert len(sections([samples.count("digits"), samples.validate()])) == 2
    published = sections([samples.audit()])[-1].tables[0]
    labels = [row[0] for row in published.rows]
    assert "S2-MLPv2-Medium/7" in labels
    assert "N=12" not in labels  # 87.1 % of 100 classes
    assert len(labels) == len(set(labels))
    families = {row[1] for row in published.rows}
    assert {"S2-MLP", "S2-MLPv2", "other MLPs", "attention", "convolution"} <= families
    assert "others" not in families
