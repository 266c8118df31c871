"""The report in a browser: silent, closed in itself, sortable, dark, and readable on a phone."""

import base64
import io
import json
import re
from urllib.parse import urlparse

import numpy as np
import pytest

from s2mlp_cli.views import html
from s2mlp_cli.views.registry import report
from tests import samples

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a report.html"
    records = [make() for make in samples.ALL.values()]
    path.write_text(html.page(report(records), "A report"), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """The page in light colours at 1280 pixels, freshly loaded."""
    browser.get_log("performance")
    look(browser, 1280, "light")
    browser.get(address)
    return browser


def look(browser, width, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def pixels(browser):
    """Return what is on the screen as height x width x 3 values of 0 to 255."""
    image = pytest.importorskip("PIL.Image")
    data = base64.b64decode(browser.get_screenshot_as_base64())
    return np.asarray(image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def test_the_console_is_silent_and_nothing_is_requested(page, address):
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    page.find_element("css selector", "thead button").click()
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requested = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    outside = [url for url in requested if urlparse(url).scheme not in {"data"}]
    assert outside == [address]
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def column(browser, table, number):
    script = (
        "return [...document.querySelectorAll('table')].find("
        "t => t.caption.textContent.startsWith(arguments[0]))"
        ".querySelectorAll('tbody tr > :nth-child(' + arguments[1] + ')')"
    )
    return [cell.get_attribute("textContent") for cell in browser.execute_script(
        script, table, number)]  # fmt: skip


def groups(browser, table, number):
    """Return a column of a table whose rows are in groups, each under a heading."""
    script = (
        "return [...[...document.querySelectorAll('table')].find("
        "t => t.caption.textContent.startsWith(arguments[0])).tBodies].map("
        "b => [...b.querySelectorAll(`tr:not(.group) > :nth-child(${arguments[1]})`)].map("
        "c => c.textContent))"
    )
    return browser.execute_script(script, table, number)


def heading(browser, table, number):
    script = (
        "return [...document.querySelectorAll('table')].find("
        "t => t.caption.textContent.startsWith(arguments[0]))"
        ".tHead.rows[0].cells[arguments[1] - 1]"
    )
    return browser.execute_script(script, table, number)


def press(browser, cell):
    browser.execute_script("arguments[0].querySelector('button').click()", cell)


def test_numbers_sort_downwards_first_and_then_upwards(page):
    median = heading(page, "Whole model", 2)
    before = groups(page, "Whole model", 2)
    press(page, median)
    down = groups(page, "Whole model", 2)
    assert median.get_attribute("aria-sort") == "descending"
    assert len(down) == 2
    assert down == [sorted(group, key=float, reverse=True) for group in before] != before
    press(page, median)
    assert median.get_attribute("aria-sort") == "ascending"
    assert groups(page, "Whole model", 2) == [group[::-1] for group in down]


def test_text_sorts_upwards_and_takes_the_mark_from_the_other_column(page):
    press(page, heading(page, "Whole model", 2))
    press(page, heading(page, "Whole model", 1))
    assert all(names == sorted(names) for names in groups(page, "Whole model", 1))
    marked = page.execute_script("return document.querySelectorAll('[aria-sort]').length")
    assert marked == 1


def test_empty_cells_stay_last_in_both_orders(page):
    wrong = heading(page, "Implementations", 7)
    for _ in range(2):
        press(page, wrong)
        assert column(page, "Implementations", 7)[-1] == ""


def test_headings_can_be_reached_and_pressed_by_keyboard(page):
    button = page.find_element("css selector", "thead button")
    page.execute_script("arguments[0].focus()", button)
    assert page.switch_to.active_element == button
    button.send_keys("\ue007")
    assert page.execute_script("return document.querySelectorAll('[aria-sort]').length") == 1


def test_pictures_are_drawn_with_their_text(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('figure svg')].map(s => "
        "[s.getBoundingClientRect().width, s.getBoundingClientRect().height, "
        "s.querySelectorAll('text').length])"
    )
    assert len(sizes) >= 8
    assert all(width > 200 and height > 60 and texts > 3 for width, height, texts in sizes)


SMALLEST = """
const sizes = [];
for (const svg of document.querySelectorAll("figure svg")) {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  for (const text of svg.querySelectorAll("text"))
    sizes.push(scale * parseFloat(getComputedStyle(text).fontSize));
}
return Math.min(...sizes);
"""


@pytest.mark.parametrize(("width", "least"), [(1280, 9), (1000, 9), (700, 9), (400, 7)])
def test_the_smallest_text_of_a_picture_is_legible_at_every_width(page, width, least):
    look(page, width, "light")
    assert page.execute_script(SMALLEST) >= least


EDGES = "return [...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect())"


def test_pictures_stand_two_abreast_and_are_scaled_on_a_phone(page):
    look(page, 1200, "light")
    lefts = {round(box["left"]) for box in page.execute_script(EDGES)}
    assert len(lefts) == 2
    look(page, 400, "light")
    boxes = page.execute_script(EDGES)
    assert len(boxes) >= 8
    assert all(box["left"] >= 0 and box["right"] <= 400 for box in boxes)


def test_no_text_of_a_picture_is_outside_of_it(page):
    outside = page.execute_script(
        "return [...document.querySelectorAll('figure svg')].flatMap(s => {"
        "  const whole = s.getBoundingClientRect();"
        "  return [...s.querySelectorAll('text')].filter(t => {"
        "    const box = t.getBoundingClientRect();"
        "    return box.left < whole.left - 1 || box.right > whole.right + 1; })"
        "  .map(t => t.textContent); })"
    )
    assert outside == []


def test_no_table_is_cut_at_1200_pixels(page):
    look(page, 1200, "light")
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    cut = page.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter("
        "  e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.trim().slice(0, 60))"
    )
    assert cut == []


def test_verdicts_are_in_sight_on_a_phone(page):
    look(page, 400, "light")
    boxes = page.execute_script(
        "return [...document.querySelectorAll('td.verdict')].filter(c => c.checkVisibility())"
        ".map(c => c.getBoundingClientRect())"
    )
    assert len(boxes) > 10
    assert all(box["left"] >= 0 and box["right"] <= 400 for box in boxes)


def test_sentences_are_in_sight_on_a_phone(page):
    look(page, 400, "light")
    ends = page.execute_script(
        "return [...document.querySelectorAll('.prose')].filter(p => p.checkVisibility()).map("
        "p => p.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= 400


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_and_no_scheme_breaks_the_page(page, scheme, width):
    look(page, width, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    shown = pixels(page)
    brightness = float(np.median(shown))
    assert brightness > 230 if scheme == "light" else brightness < 40
    assert shown.std() > 8  # there is something on it


def luminance(colour):
    values = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in values
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_stand_out_from_their_ground(page, scheme):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1 at least, in pictures too."""
    look(page, 1280, scheme)
    card = page.execute_script(
        "return getComputedStyle(document.querySelector('section')).backgroundColor"
    )
    colours = page.execute_script(
        "const found = new Set();"
        "for (const e of document.querySelectorAll("
        "  '.answer, .note, caption, thead button, tbody th, tbody td, dt, dd, summary'))"
        "  found.add(getComputedStyle(e).color);"
        "for (const e of document.querySelectorAll('figure text'))"
        "  found.add(getComputedStyle(e).fill);"
        "return [...found]"
    )
    assert len(colours) >= 5
    for colour in colours:
        light, dark = sorted((luminance(colour), luminance(card)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_a_print_keeps_folds_folded_and_draws_no_bars(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    shown = page.execute_script(
        "return [...document.querySelectorAll('details')].filter(d => d.checkVisibility()).length"
    )
    drawn = page.execute_script(
        "return [...document.querySelectorAll('.bar')].map("
        "c => getComputedStyle(c).backgroundImage)"
    )
    paper = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert shown == 0
    assert set(drawn) == {"none"}
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page[^s]", paper)) <= 4  # of six records
