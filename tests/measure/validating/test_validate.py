"""Learned digits: every form of checkpoint on every form of data gives the true accuracy."""

import pytest

from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.data.detect import open_images
from s2mlp_cli.measure.validating.plan import Settings
from s2mlp_cli.measure.validating.validate import validate
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.sample.make import SPEC
from tests.digits import (
    CHECKPOINT_FORMS,
    DATA_FORMS,
    save_legacy,
    save_safetensors,
    save_zip,
)

INPUTS = Preprocessing(input_size=(16, 16), crop_pct=1.0)


@pytest.fixture(scope="module")
def data(digits, tmp_path_factory):
    """Every form of the same images."""
    sets = {}
    for name, write in DATA_FORMS.items():
        path, labels = write(digits, tmp_path_factory.mktemp(name))
        sets[name] = open_images(path, labels)
    return sets


@pytest.fixture(scope="module")
def checkpoints(digits, tmp_path_factory):
    """The same weights in every wrapper and file format."""
    folder = tmp_path_factory.mktemp("checkpoints")
    loaded = {}
    for number, (name, (wrap, averaged)) in enumerate(CHECKPOINT_FORMS.items()):
        content = wrap(dict(digits.model.state_dict()))
        savers = {"zip": save_zip, "legacy": save_legacy}
        if name in ("bare", "module.", "averaged by torch"):
            savers["safetensors"] = save_safetensors
        for form, save in savers.items():
            path = folder / f"{number}.{form}"
            save(content, path)
            loaded[f"{name}, {form}"] = load_checkpoint(path, SPEC, averaged)
    return loaded


def run(checkpoint, images, **changes):
    settings = Settings(**{"preprocessing": INPUTS, "batch_size": 50, **changes})
    validation = validate(checkpoint, images, settings)
    assert validation is not None
    return validation.result


def test_the_model_has_learned(digits):
    assert digits.correct1 > 90


def test_the_result_says_which_form_of_an_implementation_ran(data, checkpoints):
    checkpoint = next(iter(checkpoints.values()))
    images = next(iter(data.values()))
    forms = {shift: run(checkpoint, images, shift=shift).form for shift in ("fused", "slice")}
    assert forms == {"fused": "slices", "slice": None}


@pytest.mark.parametrize("form", DATA_FORMS)
def test_every_checkpoint_validates_to_the_true_accuracy(form, data, checkpoints, digits):
    for name, checkpoint in checkpoints.items():
        result = run(checkpoint, data[form])
        assert (result.images, result.correct1, result.correct5) == (
            100,
            digits.correct1,
            digits.correct5,
        ), name
        assert result.loss == pytest.approx(digits.loss, rel=1e-5)
        assert result.failures == ()
