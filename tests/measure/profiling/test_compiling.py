"""Every version is compiled, each by itself: what ran is what the row names."""

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit

from s2mlp_cli.measure.profiling.compiling import fresh_compiler


def compiled(function, seen):
    """Return ``function`` through Dynamo alone, noting the shapes that it compiles for."""

    def backend(graph, inputs):
        seen.append([tuple(x.shape) for x in inputs])
        return graph.forward

    return torch.compile(function, backend=backend)


def adding(number):
    return lambda x: x + number


def test_more_versions_of_one_function_than_dynamo_keeps_by_itself_are_all_compiled():
    seen = []
    with fresh_compiler():
        for number in range(12):
            assert compiled(adding(number), seen)(torch.ones(3)).tolist() == [1 + number] * 3
    assert len(seen) == 12


def test_another_size_is_compiled_as_if_it_were_the_first():
    seen = []
    with fresh_compiler():
        for size in (3, 4, 5):
            compiled(adding(1), seen)(torch.ones(size))
    assert seen == [[(3,)], [(4,)], [(5,)]]


def test_a_limit_that_is_hit_is_an_error_and_not_an_uncompiled_run(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.compiling._MOST_VERSIONS", 2)
    with fresh_compiler():
        for number in range(2):
            compiled(adding(number), [])(torch.ones(3))
        one_too_many = compiled(adding(2), [])
        with pytest.raises(FailOnRecompileLimitHit):
            one_too_many(torch.ones(3))
