"""The routes: photos in, labels out."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from stages import UserError
from stages.bundle import bundle as bundles
from stages.bundle.bundle import Bundle
from stages.bundle.model import Model
from tagloom import photos
from tagloom.photos import UnreadablePhoto
from tagloom.serve import answers, forms
from tagloom.serve.answers import Answer, Health, Labels, Photo, Problem
from tagloom.serve.batching import Batcher
from tagloom.serve.following import Follower
from tagloom.serve.guard import Guard
from tagloom.serve.heat import overlay
from tagloom.serve.limits import Gate, Limits, Refused
from tagloom.serve.measures import Measures
from tagloom.serve.upload import Form, Part, received

if TYPE_CHECKING:
    from tagloom.explanation import Explainer

PAGE = Path(__file__).parent / "page"


class Service:
    """What the routes share: who answers, how many may ask, and what is counted.

    Attributes:
        follower: holds the model in use.
        limits, measures: of all requests.
    """

    def __init__(
        self, follower: Follower, limits: Limits, measures: Measures, batcher: Batcher
    ) -> None:
        self.follower, self.limits, self.measures, self.batcher = (
            follower,
            limits,
            measures,
            batcher,
        )
        self.gate = Gate(limits)
        self._explained: Model | None = None  # whose heat maps the explainer draws
        self._explainer: Explainer | None = None
        measures.in_flight.set_function(lambda: self.gate.requests)
        measures.held.set_function(lambda: self.gate.bytes)

    async def predict(self, request: Request) -> Answer:
        self.gate.check()  # before the upload: that of a request too many is not waited for
        async with received(request, self.gate, others=("threshold",)) as form:
            with self.gate:
                return await self._answer(form, self.follower.model)

    async def _answer(self, form: Form, model: Model) -> Answer:
        threshold = answers.threshold(form.others.get("threshold"))
        asked = pairs(form, model)
        found = await asyncio.gather(*(self._photo(model, *pair, threshold) for pair in asked))
        return Answer(model=model.bundle.sha256, photos=found)

    async def _photo(
        self, model: Model, part: Part | None, caption: str | None, threshold: float | None
    ) -> Photo:
        filename = part.filename if part is not None else ""
        content = bytes(part.content) if part and model.bundle.description.sees_images else None
        try:
            row = await self.batcher.probabilities(model, content, caption)
        except UnreadablePhoto as error:
            self.measures.photos.labels("unreadable").inc()
            return Photo(filename=filename, error=str(error))
        self.measures.photos.labels("answered").inc()
        return answers.photo(filename, row, model, threshold)

    @property
    def explains(self) -> bool:
        """Whether there are heat maps: they take gradients, and a network that keeps maps."""
        sees = self.follower.model.bundle.description.sees_images
        return self.follower.runtime == "torch" and sees

    async def explain(self, request: Request) -> bytes:
        if not self.explains:
            raise Refused(
                404, "explain", "there are no heat maps: they take a model of photos, and torch"
            )
        self.gate.check()
        async with received(request, self.gate, others=("label",)) as form:
            with self.gate:
                return await self._heat(form, self.follower.model)

    async def _heat(self, form: Form, model: Model) -> bytes:
        names, label = model.bundle.labels, form.others.get("label")
        if label not in names:
            raise Refused(422, "fields", f"label is one of {', '.join(names)}")
        asked = pairs(form, model)
        if len(asked) > 1:
            raise Refused(422, "fields", "a heat map is drawn of one photo; send it alone")
        [(part, caption)] = asked
        try:
            pixels = await self.batcher.decoded(model, bytes(part.content))
        except UnreadablePhoto as error:
            raise Refused(422, "photo", f"the photo cannot be read: {error}") from error
        return await self.batcher.apart(self._draw, model, pixels, caption, names.index(label))

    def _draw(self, model: Model, pixels: np.ndarray, caption: str | None, label: int) -> bytes:
        """A heat map as a PNG; in the network's thread."""
        if self._explained is not model:
            self._explainer, self._explained = explainer(model.bundle), model
        [heat] = self._explainer.heat(pixels, caption, [label])
        if heat is None:
            raise Refused(404, "explain", "there are no heat maps: the network keeps no maps")
        description = model.bundle.description
        return overlay(heat, description.image_size / description.stored_size, len(pixels))


def explainer(bundle: Bundle) -> "Explainer":
    """What draws heat maps for a bundle, with a network of its own."""
    from tagloom.explanation import Explainer  # torch

    try:
        there = bundles.read(bundle.folder).sha256
    except UserError:
        there = None
    if there != bundle.sha256:
        raise Refused(404, "explain", "there are no heat maps: the bundle's folder has changed")
    return Explainer(bundle)


def pairs(form: Form, model: Model) -> list[tuple[Part | None, str | None]]:
    """Each photo with its caption; refuses a form that has not what the model needs.

    What the model does not look at, photos or captions, may be there: the next model may.
    """
    parts, captions = form.photos, [caption or None for caption in form.captions]
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


def create_app(
    follower: Follower,
    measures: Measures,
    limits: Limits | None = None,
    hosts: Collection[str] = (),
    batch_size: int = 32,
    wait: float = 0.005,
    threads: int | None = None,
) -> FastAPI:
    """The service.

    Args:
        follower: of the model to answer with.
        limits: None: those that suit photos of phones.
        hosts: names under which it may be asked for, besides localhost and addresses in figures.
        batch_size: photos that go through the network at once, at most.
        wait: seconds that photos wait for others to go with, at most.
        threads: that decode photos; None: as many as there are cores.
    """
    limits = limits or Limits()
    batcher = Batcher(decode, batch_size, wait, threads or len(os.sched_getaffinity(0)), measures)
    service = Service(follower, limits, measures, batcher)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with pixels(limits.pixels):
            tasks = [asyncio.create_task(work()) for work in (batcher.run, follower.run)]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="Tagloom",
        version=version("tagloom"),
        description="Labels for photos.",
        lifespan=lifespan,
        docs_url=None,  # theirs are loaded from elsewhere
        redoc_url=None,
        responses={421: {"model": Problem, "description": "The service does not go by that name"}},
    )
    guard = partial(Guard, hosts=hosts, limits=limits, measures=measures)
    app.add_middleware(guard)
    app.state.service = service
    add_routes(app, service)
    add_problems(app, guard(app).answer)
    return app


def decode(content: bytes, size: int) -> np.ndarray:
    return photos.read(content, size).pixels


@contextmanager
def pixels(most: int) -> Iterator[None]:
    """Lets Pillow open no photo of more pixels, for this process."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def add_routes(app: FastAPI, service: Service) -> None:
    @app.post(
        "/predict",
        response_model=Answer,
        responses=forms.REFUSALS,
        openapi_extra=forms.PREDICT,
        summary="Labels of photos",
    )
    async def predict(request: Request) -> Response:
        """Finds the labels of one or more photos.

        A photo that cannot be read has an `error` in its place, and the others are answered: who
        sends thirty shall not lose twenty-nine. Where no photo can be read the status is 422.
        """
        answer = await service.predict(request)
        if all(photo.error is not None for photo in answer.photos):
            first = answer.photos[0]
            detail = f"no photo could be read: {first.filename or 'the first'}: {first.error}"
            problem = Problem(detail=detail, photos=answer.photos)
            return Response(problem.model_dump_json(), 422, media_type="application/json")
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post(
        "/explain",
        response_class=Response,
        responses=forms.REFUSALS | forms.HEAT,
        openapi_extra=forms.EXPLAIN,
        summary="Where a photo speaks for a label",
    )
    async def explain(request: Request) -> Response:
        """Draws the heat map (Grad-CAM) of one label, to be laid over the photo at full width and
        height: clear where nothing speaks for the label, warm where much does.
        """
        return Response(await service.explain(request), media_type="image/png")

    @app.get("/labels", summary="What the model knows, and what it may be asked")
    async def labels() -> Labels:
        return answers.labels(service.follower.model, service.explains, service.limits)

    @app.get("/health", summary="How the service does")
    async def health() -> Health:
        follower = service.follower
        return Health(
            ready=True,  # the port is opened once the first model has answered
            version=app.version,
            model=follower.model.bundle.sha256,
            bundle=str(follower.model.bundle.folder),
            problem=follower.problem,
        )

    @app.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(service.measures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE))


def add_problems(app: FastAPI, answer: Callable[[Refused], Response]) -> None:
    """Every error is told in the same way: {"detail": a sentence}."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return answer(error)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        sentences = {
            404: "there is nothing at this address",
            405: "this address takes no such method",
        }
        sentence = f"{sentences.get(error.status_code, error.detail)}; /docs says what there is"
        return JSONResponse({"detail": sentence}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def ours(_: Request, error: Exception) -> Response:
        return answer(
            Refused(500, "error", "the service met an error of its own; its log has more")
        )
