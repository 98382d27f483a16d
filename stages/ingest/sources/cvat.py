"""``cvat``: an export of CVAT, "CVAT for images 1.1": one XML file, and the images.

A photo's labels are those of its tags and of all shapes in it; a photo without any is known to have
none. Subsets of a project's tasks that are called train, validation and test are these parts; the
photos of each lie in a folder of its name.
(Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/)
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from stages import UserError
from stages.ingest import naming
from stages.ingest.sources import Row, Unreadable, below, joined
from stages.ingest.sources.pascal_voc import WithoutDocumentType
from stages.ingest.tables.about import subset_of
from stages.params import Section


class Options(Section):
    annotations: str
    photos: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    images = list(_images(root, options.annotations))
    labels = {name for image in images for name in _labels(image)}
    naming.check(labels, f"{root / options.annotations}, its labels")
    for number, image in enumerate(images, 1):
        name, folder = image.get("name"), image.get("subset")
        if not name:
            yield Unreadable(options.annotations, number, "an <image> without a name")
            continue
        subset, part = subset_of(folder or "") or ("train", None)
        photo = f"{folder}/{name}" if folder else name
        yield Row(
            file=options.annotations,
            row=number,
            id=name,
            photo=joined(options.photos, photo),
            subset=subset,
            labels=sorted(_labels(image)),
            caption=None,
            part=part,
        )


def _images(root: Path, file: str) -> Iterator[ElementTree.Element]:
    try:
        content = below(root, file).read_bytes()
        tree = ElementTree.fromstring(content, ElementTree.XMLParser(target=WithoutDocumentType()))
    except FileNotFoundError as error:
        raise UserError(f"{root / file} does not exist (ingest.root is {root})") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{root / file} is not XML, or has a document type: {error}") from error
    if tree.tag != "annotations" or tree.find("track") is not None:
        raise UserError(f'{root / file} is not of CVAT\'s images; export as "CVAT for images 1.1"')
    return tree.iterfind("image")


def _labels(image: ElementTree.Element) -> set[str]:
    return {name for each in image if (name := (each.get("label") or "").strip())}
