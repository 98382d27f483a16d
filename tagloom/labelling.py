"""Photos with what a model says of them, for the tools that people label with.

``stages/ingest/sources`` reads what these export: ``label_studio`` and ``cvat``.
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as Xml

import numpy as np

from stages import UserError
from stages.bundle.model import Model
from stages.files import whole, write_json
from stages.ingest.decoder import decode
from stages.ingest.images import UnreadablePhoto
from stages.ingest.records import label_lists
from tagloom.candidates import Candidate
from tagloom.photo_files import read_file

# What results in Label Studio refer to each other by; ``ingest.label-studio`` has the same.
IMAGE, CONTROL, ID = "image", "labels", "photo_id"


class Predicted(NamedTuple):
    """A photo, the labels that hold, and how probable the one is that is least sure."""

    photo: Candidate
    labels: list[str]
    surety: float


def predicted(
    photos: Sequence[Candidate], probabilities: np.ndarray, model: Model
) -> list[Predicted]:
    """What ``model`` says of n photos, of which the probabilities, (n, labels), are its own."""
    holds = model.decide(probabilities)
    sureties = np.where(holds, probabilities, 1 - probabilities).min(axis=1)
    labels = label_lists(holds, model.bundle.labels).to_list()
    return list(map(Predicted, photos, labels, sureties.tolist()))


def configuration(labels: Sequence[str]) -> str:
    """The labelling configuration of Label Studio for these labels (XML)."""
    view = Xml.Element("View")
    Xml.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}")
    choices = Xml.SubElement(view, "Choices", name=CONTROL, toName=IMAGE, choice="multiple")
    for label in labels:
        Xml.SubElement(choices, "Choice", value=label)
    Xml.indent(view)
    return Xml.tostring(view, "unicode")


def write_tasks(path: Path, predicted: Sequence[Predicted], address: str, version: str) -> None:
    """Writes tasks with predictions for Label Studio.

    Args:
        address: what comes before a photo's path for Label Studio to find it.
        version: of the model, by which Label Studio tells predictions apart.

    (Format: https://labelstud.io/guide/predictions)
    """
    tasks = []
    for photo, labels, surety in predicted:
        result = {
            "from_name": CONTROL,
            "to_name": IMAGE,
            "type": "choices",
            "value": {"choices": labels},
        }
        prediction = {"model_version": version, "score": surety, "result": [result]}
        data = {IMAGE: f"{address}{quote(photo.path.as_posix())}", ID: photo.id}
        tasks.append({"data": data, "predictions": [prediction]})
    write_json(path, tasks)


def constructor(labels: Sequence[str]) -> str:
    """The labels as CVAT takes them in their raw form (JSON)."""
    return json.dumps([{"name": label, "type": "tag", "attributes": []} for label in labels])


def write_zip(path: Path, predicted: Sequence[Predicted], labels: Sequence[str]) -> None:
    """Writes photos with tags, as CVAT exports and imports "CVAT for images 1.1".

    Raises:
        UserError: a photo cannot be read, or is not below the folder that ids start from.
    """
    annotations = _annotations(len(predicted), labels)
    with whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # CVAT numbers photos by their names, and finds one whose name has a folder by its number.
        in_order = sorted(predicted, key=lambda each: each.photo.id)
        for number, (photo, held, _) in enumerate(in_order):
            if PurePosixPath(photo.id).is_absolute() or ".." in PurePosixPath(photo.id).parts:
                raise UserError(
                    f"{photo.id} is not below the folder that names start from; say which that is "
                    "with --photos FOLDER"
                )
            try:
                content = read_file(photo.path)
                decoded = decode(content, 1)
            except UnreadablePhoto as error:
                raise UserError(
                    f"{photo.path} cannot be packed: {error}; say where the photos lie with "
                    "--photos FOLDER"
                ) from error
            archive.writestr(f"images/{photo.id}", content)
            about = {"id": str(number), "name": photo.id}
            about |= {"width": str(decoded.width), "height": str(decoded.height)}
            image = Xml.SubElement(annotations, "image", about)
            for label in held:
                Xml.SubElement(image, "tag", label=label, source="auto")
        Xml.indent(annotations)
        text = Xml.tostring(annotations, "utf-8", xml_declaration=True)
        archive.writestr("annotations.xml", text)


def _annotations(size: int, labels: Sequence[str]) -> Xml.Element:
    """The file of a task of so many photos, before the first of them."""
    root = Xml.Element("annotations")
    Xml.SubElement(root, "version").text = "1.1"
    task = Xml.SubElement(Xml.SubElement(root, "meta"), "task")
    Xml.SubElement(task, "size").text = str(size)
    Xml.SubElement(task, "mode").text = "annotation"
    named = Xml.SubElement(task, "labels")
    for label in labels:
        of_label = Xml.SubElement(named, "label")
        Xml.SubElement(of_label, "name").text = label
        Xml.SubElement(of_label, "type").text = "tag"
        Xml.SubElement(of_label, "attributes")
    return root
