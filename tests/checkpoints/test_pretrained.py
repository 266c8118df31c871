"""Published weights: fetched when asked for, and one sentence where they cannot be."""

import urllib.error
import urllib.request

import huggingface_hub
import pytest

from s2mlp_cli.checkpoints.pretrained import WEIGHTS, fetch_weights
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.specs import load_spec


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Stand for the hub: an empty cache, and a download that writes an empty file."""

    def download(repository, filename):
        path = tmp_path / repository.replace("/", "--") / filename
        path.parent.mkdir()
        path.touch()
        return str(path)

    class Answer:
        def close(self):
            pass

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Answer())
    return monkeypatch


def no_network(url, timeout):
    raise urllib.error.URLError("Name or service not known")


def test_the_weights_of_a_timm_model_are_downloaded(hub):
    path = fetch_weights(load_spec("mixer-b16"))
    assert path.name == WEIGHTS
    assert path.parent.name.startswith("timm--mixer_b16_224.")


def test_the_cache_needs_no_network(hub, tmp_path):
    cached = tmp_path / "cached"
    hub.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(cached))
    hub.setattr(urllib.request, "urlopen", no_network)
    assert fetch_weights(load_spec("mixer-b16")) == cached


def test_offline_there_is_one_sentence_at_once(hub):
    hub.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(CheckpointError) as caught:
        fetch_weights(load_spec("timm:resnet18.a1_in1k"))
    assert str(caught.value) == (
        "the weights timm/resnet18.a1_in1k cannot be downloaded, since https://huggingface.co cannot "
        "be reached (Name or service not known); connect, or use a file with --ckpt"
    )


def test_a_hub_that_breaks_off_is_named(hub):
    def broken(repository, filename):
        raise ConnectionResetError("connection reset")

    hub.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(CheckpointError, match=r"could not be downloaded \(connection reset\)"):
        fetch_weights(load_spec("mixer-b16"))


def test_a_front_page_that_complains_is_still_a_hub(hub):
    def forbidden(url, timeout):
        raise urllib.error.HTTPError(url, 403, "Forbidden", None, None)

    hub.setattr(urllib.request, "urlopen", forbidden)
    assert fetch_weights(load_spec("mixer-b16")).name == WEIGHTS


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("v2-small", "there are no published weights for v2-small"),
        ("timm:vit_tiny_patch16_224_", "has no model"),
    ],
)
def test_models_without_published_weights(hub, name, pattern):
    with pytest.raises(Exception, match=pattern):
        fetch_weights(load_spec(name))
