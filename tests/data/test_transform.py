"""The two ways from an image to pixels: one is timm's, the other stays within a grey level."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from s2mlp_cli.data.transform import decode, make_transform, resample_span, resized_size
from s2mlp_cli.records.validate import Preprocessing

SOURCES = (
    (500, 375), (375, 500), (640, 480), (224, 224), (256, 256), (333, 250), (249, 1000),
    (1001, 251), (90, 60), (17, 311), (1600, 1200),
)  # fmt: skip


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Smooth shapes, sharp edges and noise: what photographs hold."""
    width, height = size
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = 127 + 90 * np.sin(x / 9.7 + seed) * np.cos(y / 13.1)
    edges = 255.0 * ((x // 23 + y // 31) % 2)
    noise = generator.integers(0, 256, (height, width, 3))
    mixed = 0.5 * waves[..., None] + 0.3 * edges[..., None] + 0.2 * noise
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def of_timm(image: Image.Image, config: Preprocessing) -> np.ndarray:
    transform = create_transform(
        input_size=config.input_size,
        crop_pct=config.crop_pct,
        interpolation=config.interpolation,
        use_prefetcher=True,
    )
    return np.asarray(transform(image)).transpose(1, 2, 0)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("crop_pct", [0.9, 0.875, 1.0])
def test_the_box_is_within_one_grey_level_of_timm(crop_pct: float, interpolation: str) -> None:
    values = different = 0
    for input_size in ((224, 224), (128, 160)):
        config = Preprocessing(
            input_size=input_size, crop_pct=crop_pct, interpolation=interpolation
        )
        for seed, size in enumerate(SOURCES):
            image = picture(size, seed)
            kept = make_transform(config)(image).astype(int)
            gap = np.abs(kept - of_timm(image, config))
            assert gap.max() <= 1, size
            values, different = values + gap.size, different + np.count_nonzero(gap)
    assert different < values / 10_000


@pytest.mark.parametrize("size", SOURCES)
def test_the_timm_way_is_timm_bit_by_bit(size: tuple[int, int]) -> None:
    config = Preprocessing(transform="timm", input_size=(160, 160), crop_pct=0.875)
    image = picture(size)
    assert np.array_equal(make_transform(config)(image), of_timm(image, config))


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.tuples(st.integers(8, 512), st.integers(8, 512)),
    st.floats(0.3, 1.0),
)
def test_the_box_lies_inside_the_image_and_its_crop_fits_the_resized_one(
    size: tuple[int, int], input_size: tuple[int, int], crop_pct: float
) -> None:
    config = Preprocessing(input_size=input_size, crop_pct=crop_pct)
    resized = resized_size(size, config)
    for source, whole, kept in zip(size, resized, input_size[::-1], strict=True):
        assert whole >= kept
        first = round((whole - kept) / 2)
        span = resample_span(source, whole, first, kept)
        assert 0 <= span.first <= first
        assert span.first + span.skip == first
        assert first + kept <= span.last <= whole
        assert 0 <= span.start < span.stop <= source
        assert span.start == pytest.approx(span.first * source / whole, abs=1e-6)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16"])
def test_every_mode_becomes_rgb_as_timm_makes_it(mode: str) -> None:
    stream = io.BytesIO()
    made = Image.new(mode, (40, 30), 7 if mode in ("L", "P", "I;16") else None)
    made.save(stream, "TIFF")
    config = Preprocessing(input_size=(16, 16))
    pixels = decode(stream.getvalue(), make_transform(config))
    assert pixels.shape == (16, 16, 3)
    assert np.array_equal(pixels, of_timm(made.convert("RGB"), config))
