"""Whatever a file holds, it is a photo or it is set aside with a reason."""

import numpy as np
import pytest

from stages.ingest.decoder import decode
from stages.ingest.images import UnreadablePhoto
from tests.hostile import FILES, File


@pytest.mark.filterwarnings("ignore")  # Pillow's, of broken notes
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.kind)
def test_a_hostile_file(file: File):
    try:
        photo = decode(file.content, 32)
    except UnreadablePhoto as error:
        assert file.readable is not True, error
        assert len(str(error).splitlines()) == 1
    else:
        assert file.readable is not False
        assert (photo.pixels.shape, photo.pixels.dtype) == ((32, 32, 3), np.uint8)
