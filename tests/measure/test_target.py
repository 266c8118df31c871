import pytest

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure import target as module
from s2mlp_cli.measure.target import target


@pytest.fixture
def gpus(monkeypatch):
    def set_count(count):
        monkeypatch.setattr(module.torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(module.torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(module.torch.cuda, "set_device", current.append)
        return current

    current = []
    return set_count


@pytest.mark.parametrize(
    ("count", "name", "found"),
    [
        (0, None, "cpu"),
        (0, "cpu", "cpu"),
        (2, None, "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_target(gpus, count, name, found):
    current = gpus(count)
    assert str(target(name)) == found
    assert [str(place) for place in current] == ([] if found == "cpu" else [found])


@pytest.mark.parametrize(
    ("count", "local_rank", "name", "found"),
    [
        (2, 1, None, "cuda:1"),
        (2, 1, "cuda", "cuda:1"),
        (2, 3, None, "cuda:1"),  # more processes than GPUs share them
        (2, 1, "cuda:0", "cuda:0"),
        (2, 1, "cpu", "cpu"),
        (0, 1, None, "cpu"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own_unless_told(gpus, count, local_rank, name, found):
    gpus(count)
    assert str(target(name, local_rank)) == found


@pytest.mark.parametrize(
    ("count", "name", "there"),
    [(0, "cuda", "cpu"), (0, "tpu", "cpu"), (2, "cuda:2", "cpu or cuda:0 or cuda:1")],
)
def test_a_device_that_is_not_there_is_named_with_those_that_are(gpus, count, name, there):
    gpus(count)
    with pytest.raises(UnavailableError) as error:
        target(name)
    assert str(error.value) == f"there is no device '{name}' here; use --device with {there}"
