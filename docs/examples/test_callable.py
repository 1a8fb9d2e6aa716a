"""A plain function that returns images: its time, its memory and its output are measured."""

from PIL import Image, ImageDraw, ImageFilter


def poster(width, height, blur_px):
    image = Image.new("RGB", (width, height), "navy")
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill="red")
    return [image.filter(ImageFilter.GaussianBlur(blur_px))]


def test_poster(diffbench):
    result = diffbench(poster, width=512, height=512, blur_px=8)
    assert result.output.images[0].width_px == 512
    assert result.observation.work is None  # there is no denoiser to look at
