import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.batches import LARGEST_BATCH, find_largest_batch, fits
from s2mlp_cli.measure.profiling.workloads import Case


@given(st.integers(1, LARGEST_BATCH))
def test_the_largest_batch_fits_and_leaves_less_than_an_eighth(limit):
    found = find_largest_batch(lambda batch: batch <= limit)
    assert found <= limit
    assert limit - found <= found / 8


def test_no_batch_at_all_is_a_sentence():
    with pytest.raises(UnavailableError, match="not even a batch of 1 fits"):
        find_largest_batch(lambda batch: False)


def test_a_cpu_is_not_searched_because_it_would_be_killed(tiny):
    with pytest.raises(UnavailableError, match="--batch-size max needs a CUDA device"):
        fits(Case(tiny, "model", None, "cpu", "fp32", 1), 2)


@pytest.mark.parametrize(("error", "answer"), [(None, True), (MemoryError("no"), False)])
def test_what_is_timed_and_what_it_is_checked_with_have_to_fit(tiny, monkeypatch, error, answer):
    built = []

    def build(case, shift, example):
        built.append((case.batch_size, shift, case.compiled, example))
        if error and shift == "slice":
            raise error
        return type("Workload", (), {"run": staticmethod(lambda: None)})

    monkeypatch.setattr("s2mlp_cli.measure.profiling.batches.build_workload", build)
    monkeypatch.setattr("s2mlp_cli.measure.profiling.batches.draw_example", lambda case: "images")
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    assert fits(Case(tiny, "model", None, "cuda:0", "fp32", 1, compiled=True), 8) == answer
    assert built == [(8, "oracle", False, "images"), (8, "slice", True, "images")]
