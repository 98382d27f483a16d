"""A bundle at work answers as the network that was trained."""

from pathlib import Path

import numpy as np
import pytest

from stages.bundle import model as models
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.train import probabilities as tables


@pytest.fixture(scope="module")
def validation(bundle: Path):
    """Photos, captions and the trained network's probabilities."""
    project = bundle.parents[1]
    table = tables.read(project / "data/validation.parquet")
    everything = records.read(project / "data/records.parquet")
    rows = table.select("id").join(everything, on="id", maintain_order="left")
    photos = ImageStore(project / "data/images").gather(rows["image"].to_numpy())
    return photos, rows["caption"].to_list(), table["probabilities"].to_numpy()


def test_it_says_what_the_trained_network_said(bundle: Path, validation):
    photos, captions, said = validation
    model = models.load(bundle)
    found = model.probabilities(photos, captions)
    assert found.dtype == np.float32
    assert np.abs(found - said).max() < 5e-3
    assert model.decide(found).mean() > 0
