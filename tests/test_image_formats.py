import pytest
from PIL import Image, UnidentifiedImageError

from stages.image_formats import FORMATS, open_image, suffixes
from tests.hostile import photo, saved


def test_suffixes_are_those_of_images():
    assert {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".tif"} <= suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".ico", ".iim", ".txt", ".csv", ""} & suffixes()


def test_the_formats_are_pillows():
    Image.init()
    assert set(FORMATS) <= Image.OPEN.keys()


@pytest.mark.parametrize("format", ["ICO", "ICNS", "EPS", "DDS", "BLP"])
def test_no_other_format_is_opened(format: str):
    content = saved(photo(16).convert("P") if format == "BLP" else photo(16), format)
    with pytest.raises(UnidentifiedImageError):
        open_image(content)
