"""A shift from a user's file as one more contender, checked against what it was found to be."""

import textwrap

import pytest

from s2mlp_cli.errors import RecordError, UnavailableError, UserCodeError
from s2mlp_cli.measure.profiling.contenders import Contender, Preparation
from s2mlp_cli.measure.profiling.deployed import DeployedFiles
from s2mlp_cli.measure.profiling.memory import Resident, child_memory
from s2mlp_cli.measure.profiling.profiler import Profiler
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import Candidate
from s2mlp_cli.measure.source import spec_model
from s2mlp_cli.records.profile import ProfileRequest, ProfileSettings
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.contender import open_shift, reopen_shift
from tests.measure.fakes import Clock, FakeDevice
from tests.measure.profiling.test_contenders import prepare
from tests.measure.profiling.test_profile import ENVIRONMENT
from tests.tiny import case as make_case

TURNS = """
import torch

def wraps(x):
    a, b = x.chunk(2, -1)
    return torch.cat([a.roll(1, 1), b.roll(-1, 2)], -1)

def zeros(x, directions, width=1):
    moves = {"up": (-1, 1), "down": (1, 1), "left": (-1, 2), "right": (1, 2)}
    parts = []
    for part, name in zip(x.chunk(len(directions), -1), directions):
        step, axis = moves[name]
        moved = part.roll(step * width, axis)
        moved.select(axis, 0 if step > 0 else -1).zero_()
        parts.append(moved)
    return torch.cat(parts, -1)

def random(x):
    return x.roll(int(torch.randint(1, 9, ())), 1)

def smears(x):
    half = x.shape[-1] // 2
    x[:, 1:, :, :half] = x[:, :-1, :, :half]
    return x

def small_maps_only(x):
    assert x.shape[1] != 6, "no map of six rows"
    return x.roll(1, 1)

def untrained(x):
    return x.detach().roll(1, 1)

def changes_its_input(x):
    moved = x.roll(1, 1)
    return x.zero_() + moved

def prints(x):
    print("in the way")
    return x.roll(1, 1)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(TURNS))
    return path


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    monkeypatch.setattr(registry, "_ADDED", {})


def test_one_that_wraps_is_checked_against_a_reference_that_wraps(tiny, file):
    name = open_shift(f"{file}:wraps").name
    assert name == "mine.py:wraps"
    ready = prepare(tiny, name)
    assert isinstance(ready, Contender)
    assert ready.row.error == 0


@pytest.mark.parametrize("level", ["op", "block", "model"])
def test_one_that_takes_directions_takes_the_place_of_ours_whatever_its_border(tiny, file, level):
    ready = prepare(tiny, open_shift(f"{file}:zeros").name, level)
    assert isinstance(ready, Contender)
    assert ready.row.error < 1e-4


@pytest.mark.parametrize("level", ["block", "model"])
def test_fixed_directions_that_are_not_the_models_stay_outside_of_it(tiny, file, level):
    skipped = prepare(tiny, open_shift(f"{file}:wraps").name, level)
    assert skipped.skipped == (
        "always moves down, left, and the model moves down, up, right, left: see the level op"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("random", "not a shift: two calls on the same map give different values"),
        ("smears", "not a shift: group 1 smears (85.7% of its values wrong at 14x14"),
        ("small_maps_only", "fails here: AssertionError: no map of six rows (mine.py:"),
    ],
)
def test_what_is_not_a_shift_or_fails_is_listed_with_the_reason(tiny, file, name, reason):
    skipped = prepare(tiny, open_shift(f"{file}:{name}").name)
    assert skipped.skipped.startswith(reason)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_one_that_changes_its_input_gets_copies_and_leaves_that_of_the_others_alone(
    tiny, file, mode
):
    name = open_shift(f"{file}:changes_its_input").name
    case = make_case(tiny, "op", batch_size=2, mode=mode)
    made = Preparation(case, FakeDevice(Clock()), DeployedFiles(case))
    theirs, ours = (
        made.prepare(Candidate(n), blank_row(case, Candidate(n), 1)) for n in (name, "roll")
    )
    assert isinstance(theirs, Contender)
    assert any("it changes its input" in each for each in theirs.row.warnings)
    assert any("it does other work than slice: it moves" in each for each in theirs.row.warnings)
    assert isinstance(ours, Contender)
    assert ours.row.warnings == ()


def test_one_without_a_gradient_is_not_timed_in_training(tiny, file):
    name = open_shift(f"{file}:untrained").name
    assert isinstance(prepare(tiny, name), Contender)
    assert "does not require grad" in prepare(tiny, name, mode="training").skipped


def test_it_is_found_again_by_its_path_and_refused_when_its_file_has_changed(file):
    source = open_shift(f"{file}:zeros", {"width": 1}).source
    assert (source.kind, source.name, source.path) == (
        "python", "mine.py:zeros[width=1]", f"{file}:zeros",
    )  # fmt: skip
    assert source.arguments == {"width": 1}
    assert reopen_shift(source).name == source.name
    file.write_text(file.read_text() + "# another\n")
    with pytest.raises(UserCodeError, match=r"mine.py has changed \(sha256"):
        reopen_shift(source)


def test_functions_of_one_name_in_two_files_are_called_by_their_paths(tmp_path, file):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "mine.py"
    other.write_text("def wraps(x):\n    return x.roll(2, 1)\n")
    assert open_shift(f"{file}:wraps").name == "mine.py:wraps"
    assert open_shift(f"{other}:wraps").name == f"{other}:wraps"


def profiler(spec, *names, previous=None):
    device = FakeDevice(Clock())
    request = ProfileRequest(models=(spec.name,), shifts=names, levels=("op",))
    settings = ProfileSettings(seed=5, min_time_s=0, max_time_s=0.2)
    return Profiler(
        (spec_model(spec),), request, settings, device, ENVIRONMENT,
        previous=previous, clock=device.clock, memory_of=lambda case, shift, threads: Resident(1, 1),
    )  # fmt: skip


def test_the_record_says_where_it_came_from_and_what_it_is(tiny, file, capsys):
    name = open_shift(f"{file}:prints").name
    record = profiler(tiny, name).run()
    assert capsys.readouterr().out == ""
    assert record.sources[name].sha256 == open_shift(f"{file}:prints").source.sha256
    assert [row.shift for row in record.results if row.median_s and row.stage == 0] == [
        "slice",
        name,
    ]
    assert any("wraps around at the border: down on B,H,W,C" in each for each in record.warnings)
    file.write_text(file.read_text() + "# another\n")
    open_shift(f"{file}:prints")
    with pytest.raises(RecordError, match=r"mine.py:prints has changed since the record"):
        profiler(tiny, name, previous=record)


def test_one_that_is_not_a_shift_alone_leaves_nothing_to_time(tiny, file):
    name = open_shift(f"{file}:random").name
    with pytest.raises(UnavailableError, match="two calls on the same map give different values"):
        profiler(tiny, name).run()


def test_a_child_process_loads_the_file_again(tiny, file, capfd):
    name = open_shift(f"{file}:prints").name
    found = child_memory(make_case(tiny, "op"), name, 1)
    assert isinstance(found, Resident)
    assert capfd.readouterr().out == ""
    file.write_text("def prints(x):\n    return x\n")
    assert "has changed" in child_memory(make_case(tiny, "op"), name, 1)
