"""The HTML page without a browser: complete, closed in itself, and safe against its records."""

import re
from html.parser import HTMLParser

import pytest

from s2mlp_cli.views import html
from s2mlp_cli.views.registry import report
from tests import samples

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Holds that every element is closed, and gathers what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.ids = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.elements.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(*records):
    return html.page(report(records), "A report")


@pytest.fixture(scope="module")
def everything():
    return page(*(make() for make in samples.ALL.values()))


def test_elements_are_closed_and_ids_are_unique(everything):
    ids = Page(everything).ids
    assert len(ids) == len(set(ids))


def test_nothing_points_outside(everything):
    found = Page(everything)
    targets = [
        value
        for _, attributes in found.elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "action", "srcset"}
    ]
    assert targets
    assert all(target.startswith(("#", "data:,")) for target in targets)
    assert not re.search(r"@import|url\((?!#)", everything)
    assert "default-src 'none'" in everything


def test_tables_are_accessible(everything):
    found = Page(everything)
    assert len(found.all("caption")) == len(found.all("table")) > 10
    scopes = [attributes.get("scope") for attributes in found.all("th")]
    assert set(scopes) == {"col", "row", "rowgroup"}


def test_pictures_are_described(everything):
    pictures = Page(everything).all("svg")
    assert len(pictures) >= 8
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in pictures)


def test_every_record_has_its_section_and_the_navigation_leads_there(everything):
    found = Page(everything)
    links = [link["href"] for link in found.all("a") if link["href"].startswith("#section")]
    assert links == [f"#section-{number}" for number in range(1, len(samples.ALL) + 1)]
    assert {link[1:] for link in links} <= set(found.ids)


def test_the_same_records_give_the_same_page():
    assert page(samples.count(), samples.trace()) == page(samples.count(), samples.trace())


def test_texts_of_records_are_never_markup():
    attack = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    record = samples.count(model=attack, title=attack)
    text = page(record.model_copy(update={"command": (attack,)}))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert Page(text).all("script") == [{}]


def test_numbers_carry_their_raw_value_and_units_are_in_the_heading():
    text = page(samples.count(), samples.profile())
    assert 'data-value="24000000" title="24000000">24.00 M</td>' in text
    assert 'Median <span class="unit">(ms)</span>' in text


def test_every_answer_and_the_number_of_warnings_are_on_the_first_screen():
    record = samples.profile()
    doubtful = record.model_copy(update={"warnings": ("the machine is busy",)})
    head = page(samples.count(), doubtful).partition("</header>")[0]
    assert "S2-MLP v2-small at 224x224: 25.00 M parameters, 6.900 G MACs" in head
    assert "1 warning<" in head
