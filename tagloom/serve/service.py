"""From a request's form to its answer."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request

from stages import UserError
from stages.bundle.bundle import Bundle, read_bundle
from stages.bundle.model import Model
from stages.ingest import decoder
from stages.ingest.images import UnreadablePhoto
from stages.ingest.naming import named
from tagloom.heat import overlay
from tagloom.serve import schemas
from tagloom.serve.batching import Batcher
from tagloom.serve.limits import CLIENT_GONE, Gate, Limits, Refused
from tagloom.serve.metrics import Metrics
from tagloom.serve.model_reload import ModelReloader
from tagloom.serve.schemas import Answer, Photo
from tagloom.serve.upload import Form, Part, received

if TYPE_CHECKING:
    from tagloom.explanation import PhotoExplainer

Result = TypeVar("Result")
NO_HEAT = "there are no heat maps: they take a model of photos, and torch"


class Service:
    """What the routes share: who answers, how many may ask, and what is counted.

    Attributes:
        reloader: holds the model in use.
        limits: of each request.
        metrics: of all requests.
    """

    def __init__(
        self, reloader: ModelReloader, limits: Limits, metrics: Metrics, batcher: Batcher
    ) -> None:
        self.reloader, self.limits = reloader, limits
        self.metrics, self.batcher = metrics, batcher
        self.gate = Gate(limits, metrics)
        self._explainer: tuple[Model, PhotoExplainer] | None = (
            None  # and the model that it explains
        )

    async def predict(self, request: Request) -> Answer:
        self.gate.check()  # before the upload: that of a request too many is not waited for
        async with received(request, self.gate, others=("threshold",)) as form:
            request.state.photos = len(form.photos)
            with self.gate:
                return await unless_gone(request, self._answer(form, self.reloader.model))

    async def _answer(self, form: Form, model: Model) -> Answer:
        threshold = schemas.threshold(form.others.get("threshold"))
        asked = pairs(form, model)
        photos = await asyncio.gather(*(self._photo(model, *pair, threshold) for pair in asked))
        return Answer(model=model.bundle.sha256, photos=photos)

    async def _photo(
        self, model: Model, part: Part | None, caption: str | None, threshold: float | None
    ) -> Photo:
        filename = part.filename if part is not None else ""
        content = part.content if part and model.bundle.description.sees_images else None
        try:
            row = await self.batcher.probabilities(model, content, caption)
        except UnreadablePhoto as error:
            self.metrics.photos.labels("unreadable").inc()
            return Photo(filename=filename, error=str(error))
        self.metrics.photos.labels("answered").inc()
        return schemas.photo(filename, row, model, threshold)

    @property
    def explains(self) -> bool:
        """Whether there are heat maps: they take gradients, and a network that keeps maps."""
        sees = self.reloader.model.bundle.description.sees_images
        return self.reloader.runtime == "torch" and sees

    async def explain(self, request: Request) -> bytes:
        if not self.explains:
            raise Refused(404, "explain", NO_HEAT)
        self.gate.check()
        async with received(request, self.gate, others=("label",)) as form:
            request.state.photos = len(form.photos)
            with self.gate:
                return await unless_gone(request, self._heat(form, self.reloader.model))

    async def _heat(self, form: Form, model: Model) -> bytes:
        names = model.bundle.labels
        label = named(form.others.get("label", ""), names)
        if label is None:
            raise Refused(422, "fields", f"label is one of {', '.join(names)}")
        asked = pairs(form, model)
        if len(asked) > 1:
            raise Refused(422, "fields", "a heat map is drawn of one photo; send it alone")
        [(part, caption)] = asked
        if part is None:  # a model of captions alone came in use as the form was read
            raise Refused(404, "explain", NO_HEAT)
        try:
            photo = await self.batcher.decoded(model, part.content)
        except UnreadablePhoto as error:
            raise Refused(422, "photo", f"the photo cannot be read: {error}") from error
        return await self.batcher.in_network_thread(
            self._draw, model, photo, caption, names.index(label)
        )

    def _draw(self, model: Model, photo: decoder.Photo, caption: str | None, label: int) -> bytes:
        """A heat map as a PNG; in the network's thread."""
        if self._explainer is None or self._explainer[0] is not model:
            self._explainer = model, explainer(model.bundle)
        [heat] = self._explainer[1].heat(photo.pixels, caption, [label])
        if heat is None:
            raise Refused(404, "explain", "there are no heat maps: the network keeps no maps")
        seen = model.bundle.description.seen(photo.width, photo.height)
        return overlay(heat, seen, len(photo.pixels))


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What ``work`` returns; it is cancelled once the client has gone, whom nobody answers.

    Args:
        request: its body has been read.

    Raises:
        Refused: the client has gone.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Refused(CLIENT_GONE, "gone", "the client has gone")
        return answer.result()
    finally:
        answer.cancel()
        leaving.cancel()


def explainer(bundle: Bundle) -> "PhotoExplainer":
    """What draws heat maps for a bundle.

    Raises:
        Refused: the bundle's folder no longer holds it.
    """
    from tagloom.explanation import PhotoExplainer  # torch

    try:
        sha256 = read_bundle(bundle.folder).sha256
    except UserError:
        sha256 = None
    if sha256 != bundle.sha256:
        raise Refused(404, "explain", "there are no heat maps: the bundle's folder has changed")
    return PhotoExplainer(bundle)


def pairs(form: Form, model: Model) -> list[tuple[Part | None, str | None]]:
    """Each photo with its caption; refuses a form that has not what the model needs.

    What the model does not look at, photos or captions, may be there: the next model may.
    """
    parts: Sequence[Part | None] = form.photos
    captions = [caption or None for caption in form.captions]
    if model.bundle.description.sees_images and not parts:
        raise Refused(422, "fields", "there is no photo in the form; its field is photos")
    if not parts and not captions:
        raise Refused(422, "fields", "there is no caption in the form; its field is captions")
    if parts and captions and len(parts) != len(captions):
        raise Refused(
            422,
            "fields",
            f"there are {len(parts)} photos and {len(captions)} captions; send one for each, in "
            "the same order, empty for a photo without one, or none at all",
        )
    count = max(len(parts), len(captions))
    return list(zip(parts or [None] * count, captions or [None] * count, strict=True))
