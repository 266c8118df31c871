"""Scores computed from the table, against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.data.subset import spread
from s2mlp_cli.measure.validating.score import Scored, expected_calibration_error, real_score
from s2mlp_cli.measure.validating.table import BROKEN, PENDING, SCORED, ImageTable


def table_of(top1, second=99):
    table = ImageTable.empty(len(top1))
    table.state[:] = SCORED
    table.top[:, 0] = top1
    table.top[:, 1] = second
    table.loss[:] = 0.5
    table.confidence[:] = 0.8
    return table


def test_broken_and_pending_images_are_in_no_score():
    table = table_of([1, 2, 3, 3])
    table.state[2], table.state[3] = BROKEN, PENDING
    scored = Scored(table, np.array([1, 0, 3, 3]))
    assert (len(scored), int(scored.correct1.sum())) == (2, 1)


def test_loss_with_a_nan_is_no_number():
    table = table_of([0, 1])
    table.loss[1] = np.nan
    assert Scored(table, np.array([0, 1])).loss() == (None, None)


def test_the_interval_of_a_loss_stops_at_zero():
    """Mean 1, deviation 2: a half-width of 1.96."""
    table = table_of([0, 0, 0, 0])
    table.loss[:] = [4, 0, 0, 0]
    mean, interval = Scored(table, np.zeros(4, np.int64)).loss()
    assert (mean, interval) == (1.0, (0.0, pytest.approx(2.96, rel=1e-3)))


def test_calibration_error_by_hand():
    table = table_of([0, 0, 0, 0])
    table.confidence[:] = [0.95, 0.95, 0.6, 0.6]
    bins = Scored(table, np.array([0, 0, 0, 1])).calibration()
    assert [(b.images, b.correct1) for b in bins] == [(2, 1), (2, 2)]
    # (2 * |1/2 - 0.6| + 2 * |1 - 0.95|) / 4
    assert expected_calibration_error(bins) == pytest.approx(0.075, rel=1e-5)


def test_confusions_are_counted_and_ordered():
    scored = Scored(table_of([1, 1, 2, 0, 0]), np.array([0, 0, 0, 0, 2]))
    rows = scored.confusions({0: "cat", 1: "dog"})
    assert [(r.label_name, r.predicted_name, r.predicted, r.images) for r in rows] == [
        ("cat", "dog", 1, 2), ("cat", None, 2, 1), (None, "cat", 0, 1),
    ]  # fmt: skip


def test_real_labels_skip_images_without_any():
    result = real_score(table_of([1, 2, 3]), [(1, 5), (), (9, 99)])
    assert (result.images, result.skipped, result.correct1, result.correct5) == (2, 1, 1, 2)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(1, 90), st.integers(0, 3))
def test_a_limit_is_spread_evenly_and_repeatable(classes, limit, seed):
    targets = np.array(classes)
    rows = spread(targets, limit, seed)
    assert len(rows) == min(limit, len(targets))
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, spread(targets, limit, seed))
    taken = {c: int((targets[rows] == c).sum()) for c in set(classes)}
    for one, count in taken.items():
        if count < classes.count(one):  # it had more to give
            assert count >= max(taken.values()) - 1


def test_which_images_and_which_classes_a_limit_takes_is_drawn():
    """Not the first of each class, nor the first classes: sets are often sorted by something."""
    targets = np.repeat(np.arange(20), 30)
    drawn = [spread(targets, 5, seed) for seed in range(40)]
    assert len({tuple(rows) for rows in drawn}) == 40
    assert all(len(set(targets[rows])) == 5 for rows in drawn)
    assert {int(image) for rows in drawn for image in targets[rows]} == set(range(20))
    assert 10 < np.mean([rows % 30 for rows in drawn]) < 19
