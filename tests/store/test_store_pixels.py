"""From what pipelines return to uint8 arrays, and digests of arrays."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from store_builders import make_image

from pytest_diffbench.outputs.pixels import Pixels, image_digest, to_uint8_arrays

IMAGE = make_image(shape=(6, 5, 3))


def only(pixels: Pixels) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert len(pixels.arrays) == len(pixels.modes) == 1
    array = pixels.arrays[0]
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    return array


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", "L"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("1", "L"),
        ("P", "RGB"),
        ("LA", "RGBA"),
        ("PA", "RGBA"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
        ("RGBX", "RGB"),
    ],
)
def test_pil_modes(mode: str, expected: str) -> None:
    image = Image.fromarray(IMAGE).convert("RGBA" if mode == "PA" else "RGB")
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
    assert image.mode == mode
    pixels = to_uint8_arrays(image)
    assert pixels.modes == (expected,)
    assert pixels.finite
    assert np.array_equal(only(pixels), np.array(image.convert(expected)))


def test_palette_with_transparency_keeps_the_transparency() -> None:
    image = Image.fromarray(IMAGE).convert("P")
    image.info["transparency"] = 0
    assert to_uint8_arrays(image).modes == ("RGBA",)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_deep_pil_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="more than 8 bits"):
        to_uint8_arrays(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(
    ("shape", "count", "mode"),
    [
        ((6, 5), 1, "L"),
        ((6, 5, 1), 1, "L"),
        ((6, 5, 3), 1, "RGB"),
        ((6, 5, 4), 1, "RGBA"),
        ((2, 6, 5, 1), 2, "L"),
        ((2, 6, 5, 3), 2, "RGB"),
        ((1, 6, 5, 4), 1, "RGBA"),
        ((3, 3, 3), 1, "RGB"),
    ],
)
def test_numpy_shapes(shape: tuple[int, ...], count: int, mode: str) -> None:
    values = make_image(shape=shape)
    for array in (values, values.astype(np.float32) / 255, values / 255):
        pixels = to_uint8_arrays(array)
        assert pixels.modes == (mode,) * count
        flat = values.reshape(count, -1)
        assert all(np.array_equal(a.ravel(), b) for a, b in zip(pixels.arrays, flat, strict=True))
        assert all(a.ndim == (2 if mode == "L" else 3) for a in pixels.arrays)


@pytest.mark.parametrize("shape", [(6,), (6, 5, 2), (2, 3, 6, 5), (1, 2, 6, 5, 3), (0, 5, 3), (0, 6, 5, 3), ()])
def test_shapes_of_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="isn't an image; expected HW"):
        to_uint8_arrays(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_, np.uint16, np.complex64])
def test_dtypes_of_no_image(dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype"):
        to_uint8_arrays(np.zeros((6, 5, 3), dtype=dtype))


@pytest.mark.parametrize("value", [None, "text", b"bytes", 1.5, False, [1.0, 2.0], [[None]], {"a": 1}, object()])
def test_what_is_no_image_at_all(value: Any) -> None:
    with pytest.raises(TypeError, match="isn't an image"):
        to_uint8_arrays(value)


def test_no_images() -> None:
    assert to_uint8_arrays([]) == Pixels(arrays=(), finite=True, modes=())
    assert to_uint8_arrays(SimpleNamespace(images=[])) == Pixels(arrays=(), finite=True, modes=())


def test_lists_are_undone_in_order() -> None:
    images = [[Image.fromarray(IMAGE), IMAGE], (IMAGE[..., 0],), np.stack([IMAGE, IMAGE])]
    pixels = to_uint8_arrays(SimpleNamespace(images=images))
    assert pixels.modes == ("RGB", "RGB", "L", "RGB", "RGB")


def test_arrays_are_copies() -> None:
    source = IMAGE.copy()
    pixels = to_uint8_arrays([source, source[:, ::-1]])
    source[:] = 0
    assert np.array_equal(pixels.arrays[0], IMAGE)
    assert np.array_equal(pixels.arrays[1], IMAGE[:, ::-1])
    assert all(array.flags.c_contiguous and array.flags.owndata for array in pixels.arrays)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_becomes_zero_and_is_reported(bad: float) -> None:
    values = np.full((2, 2, 3), 0.5, dtype=np.float32)
    values[0, 0, 0] = bad
    pixels = to_uint8_arrays([values, IMAGE])
    assert not pixels.finite
    assert pixels.arrays[0][0, 0, 0] == 0
    assert pixels.arrays[0][1, 1, 1] == 128


def test_overshoot_is_clipped_and_other_ranges_are_refused() -> None:
    values = np.array([[-0.1, 1.2, 0.0, 1.0]], dtype=np.float32)
    assert only(to_uint8_arrays(values)).tolist() == [[0, 255, 0, 255]]
    for bad in (values * 255, values * 2 - 1):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            to_uint8_arrays(bad)


def test_latents_are_no_image() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    for shape in [(1, 16, 8, 8), (1, 4, 8, 8), (1, 3, 8, 8), (1, 64, 64), (1, 16)]:
        with pytest.raises(ValueError, match="an image"):
            to_uint8_arrays(torch.randn(shape, generator=generator))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "uint8"])
@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (3, 6, 5), (4, 6, 5), (2, 3, 6, 5), (2, 1, 6, 5)])
def test_torch_tensors(dtype: str, shape: tuple[int, ...]) -> None:
    import torch

    values = torch.from_numpy(make_image(shape=shape)) // 128 * 255  # 0 and 1 are exact in every dtype
    tensor = values if dtype == "uint8" else (values / 255).to(getattr(torch, dtype)).requires_grad_()
    pixels = to_uint8_arrays(tensor)
    last = values.movedim(-3, -1) if len(shape) > 2 else values
    expected = last.reshape(len(pixels.arrays), -1).numpy()
    assert all(np.array_equal(a.ravel(), b) for a, b in zip(pixels.arrays, expected, strict=True))
    assert all(array.flags.c_contiguous for array in pixels.arrays)
    assert len(pixels.arrays) == (shape[0] if len(shape) == 4 else 1)


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64"])
def test_torch_dtypes_of_no_image(dtype: str) -> None:
    import torch

    with pytest.raises(ValueError, match="dtype"):
        to_uint8_arrays(torch.zeros(3, 6, 5, dtype=getattr(torch, dtype)))


def test_rounding_matches_diffusers() -> None:
    from diffusers.image_processor import VaeImageProcessor

    # All multiples of 1/510: every half is among them.
    values = (np.arange(511) / 510).astype(np.float32).reshape(1, 7, 73, 1).repeat(3, axis=-1)
    expected = VaeImageProcessor.numpy_to_pil(values)
    assert np.array_equal(only(to_uint8_arrays(values)), np.array(expected[0]))
    wide = values.astype(np.float64)
    assert np.array_equal(only(to_uint8_arrays(wide)), np.array(VaeImageProcessor.numpy_to_pil(wide)[0]))


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4]))))
def test_uint8_to_float_and_back_is_exact(values: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    for floats in (values.astype(np.float32) / 255, values / 255):
        pixels = to_uint8_arrays(floats)
        assert np.array_equal(pixels.arrays[0].ravel(), values.ravel())


def test_digest_is_the_same_for_ever() -> None:
    # Digests stand in committed baselines.
    assert image_digest(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)) == "c5f04c72f1f19c0a"


def test_digest_covers_shape_dtype_and_every_value() -> None:
    base = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    digests = {
        image_digest(array)
        for array in (
            base,
            base.reshape(3, 4),
            base.reshape(4, 3),
            base.astype(np.uint16),
            base.astype(np.float32),
            base + np.uint8(1),
            base[::-1],
            base[..., :1],
            base[:0],
        )
    }
    assert len(digests) == 9
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)


def test_digest_doesnt_depend_on_how_memory_lies() -> None:
    base = make_image(shape=(6, 5, 3))
    for same in (base.copy(order="F"), base[::-1][::-1], np.stack([base, base])[1]):
        assert image_digest(same) == image_digest(base)


def test_pixels_import_no_torch() -> None:
    script = """
import sys
import pytest_diffbench.outputs.pixels as pixels
assert not {"torch", "numpy", "PIL"} & sys.modules.keys()
import numpy
pixels.to_uint8_arrays([numpy.zeros((2, 2, 3), dtype=numpy.uint8)])
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
