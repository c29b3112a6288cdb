"""The views equal transformers' processors on Pillow (their classes that need no torchvision)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from llava_chat.image import clip_pixels, pad_to_square, square
from llava_chat.image.views import PAD_COLOUR, Aspect, padded_square

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZES = [
    (1, 1),
    (2, 3),
    (17, 400),
    (336, 336),
    (335, 337),
    (640, 480),
    (480, 641),
    (500, 333),
    (1201, 97),
    (97, 1201),
    (1920, 1080),
    (2016, 3024),
    (2500, 31),
]
STRIPS = [(3, 2000), (2000, 3), (1, 16_384), (16_384, 1)]


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def reference(image: Image.Image, size_px: int) -> npt.NDArray[np.float32]:
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size_px}, crop_size={"height": size_px, "width": size_px}
    )
    pixels: npt.NDArray[np.float32] = processor(image, return_tensors="np")["pixel_values"][0]
    return pixels


@pytest.mark.parametrize("size_px", [112, 336])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aspect", ["pad", "square"])
def test_equals_transformers_clip_processor(
    aspect: Aspect, size: tuple[int, int], size_px: int
) -> None:
    image = noise(*size)
    pixels = clip_pixels(image, size_px=size_px, mean=MEAN, std=STD, aspect=aspect)
    expected = reference(pad_to_square(image) if aspect == "pad" else image, size_px)
    assert pixels.dtype == np.float32 and pixels.shape == (3, size_px, size_px)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("size", [*SIZES, *STRIPS[:2]])
def test_padding_equals_transformers_llava_processor(size: tuple[int, int]) -> None:
    image = noise(*size)
    shape = {"height": 336, "width": 336}
    processor = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": 336}, crop_size=shape, image_mean=MEAN, image_std=STD
    )
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    pixels = clip_pixels(image, size_px=336, mean=MEAN, std=STD, aspect="pad")
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("size_px", [112, 384])
@pytest.mark.parametrize("size", [*SIZES, *STRIPS])
def test_equals_transformers_siglip_processor(size: tuple[int, int], size_px: int) -> None:
    image = noise(*size)
    half = (0.5, 0.5, 0.5)
    processor = SiglipImageProcessorPil(size={"height": size_px, "width": size_px})
    assert tuple(processor.image_mean) == tuple(processor.image_std) == half
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    pixels = clip_pixels(image, size_px=size_px, mean=half, std=half, aspect="stretch")
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("size", [(37, 20), (20, 37), (30, 30)])
def test_padding_of_another_colour(size: tuple[int, int]) -> None:
    image, colour = noise(*size), (127, 63, 255)
    pixels = clip_pixels(image, size_px=112, mean=MEAN, std=STD, aspect="pad", colour=colour)
    np.testing.assert_array_equal(pixels, reference(pad_to_square(image, colour), 112))


@pytest.mark.parametrize("size", [(2500, 2400), (2400, 2500), (5000, 7), (7, 5000)])
def test_large_pictures_padded_in_strips_equal_those_padded_whole(size: tuple[int, int]) -> None:
    image = noise(*size)
    whole = pad_to_square(image).resize((224, 224), Image.Resampling.BICUBIC)
    assert padded_square(image, 224, PAD_COLOUR).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("aspect", "size"), [("pad", (300, 5900)), ("square", (8000, 20))])
def test_costly_pictures_come_out_nearly_the_same(aspect: Aspect, size: tuple[int, int]) -> None:
    image = noise(max(1, size[0] // 20), max(1, size[1] // 20)).resize(size)
    pixels = clip_pixels(image, size_px=336, mean=(0, 0, 0), std=(1, 1, 1), aspect=aspect)
    if aspect == "pad":
        whole = pad_to_square(image).resize((336, 336), Image.Resampling.BICUBIC)
    else:
        whole = image.resize((336 * 400, 336), Image.Resampling.BICUBIC)
        left = (whole.width - 336) // 2
        whole = whole.crop((left, 0, left + 336, 336))
    difference = np.abs(pixels * 255 - np.asarray(whole).transpose(2, 0, 1))
    assert difference.max() < 10 and difference.mean() < 0.1


@pytest.mark.parametrize("size", STRIPS[:2])
def test_the_centre_of_a_strip_is_that_of_the_strip_resized_whole(size: tuple[int, int]) -> None:
    image, is_wide = noise(*size), size[0] > size[1]
    long = 336 * 2000 // 3
    start = (long - 336) // 2
    whole = image.resize((long, 336) if is_wide else (336, long), Image.Resampling.BICUBIC)
    box = (start, 0, start + 336, 336) if is_wide else (0, start, 336, start + 336)
    assert square(image, 336).tobytes() == whole.crop(box).tobytes()


def test_padding_is_centred_and_of_the_reference_colour() -> None:
    padded = np.asarray(pad_to_square(Image.new("RGB", (5, 2), "red")))
    assert padded.shape == (5, 5, 3)
    is_red = (padded == (255, 0, 0)).all(axis=2)
    assert is_red.all(axis=1).tolist() == [False, True, True, False, False]
    assert (padded[~is_red] == (122, 116, 104)).all()


@pytest.mark.parametrize("size", STRIPS[2:])
@pytest.mark.parametrize("aspect", ["pad", "square", "stretch"])
def test_the_longest_strips_that_are_accepted(aspect: Aspect, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (122, 116, 104))
    pixels = clip_pixels(image, size_px=336, mean=(0, 0, 0), std=(1, 1, 1), aspect=aspect)
    colour = np.array([122, 116, 104], np.float32)[:, None, None] / 255
    np.testing.assert_allclose(pixels, np.broadcast_to(colour, pixels.shape), atol=1e-6)


def test_square_keeps_the_centre() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste((0, 255, 0), (100, 0, 200, 100))
    assert np.asarray(square(image, 50))[:, 1:-1].reshape(-1, 3).tolist() == [[0, 255, 0]] * 2400
