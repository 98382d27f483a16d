from stages.image_formats import suffixes


def test_suffixes_are_those_of_images():
    assert {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".tif"} <= suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ".csv", ""} & suffixes()
