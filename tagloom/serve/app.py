"""The routes: photos in, labels out."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from stages.cores import cores
from stages.ingest.decoder_processes import Decoders
from tagloom.serve import forms, schemas
from tagloom.serve.batching import Batcher
from tagloom.serve.limits import Limits, Refused
from tagloom.serve.metrics import Metrics
from tagloom.serve.middleware import RequestMiddleware, refusal
from tagloom.serve.model_reload import ModelReloader
from tagloom.serve.schemas import Answer, Health, Labels, Live, Problem
from tagloom.serve.service import Service

PAGE = Path(__file__).parent / "page"


def create_app(
    reloader: ModelReloader,
    metrics: Metrics,
    limits: Limits | None = None,
    hosts: Collection[str] = (),
    batch_size: int = 32,
    wait: float = 0.005,
    threads: int | None = None,
    patience: float = 30.0,
    memory: int | None = None,
) -> FastAPI:
    """The service.

    Args:
        reloader: holds the model that answers.
        limits: None: those that suit photos of phones.
        hosts: names under which it may be asked for, besides localhost and addresses in figures.
        batch_size: photos that go through the network at once, at most.
        wait: seconds that photos wait for others to go with, at most.
        threads: that have photos decoded, each by a process; None: as many as there are cores.
        patience: seconds after which a photo or a batch that is still worked at makes the service
            say that it is not ready.
        memory: bytes that decoding may take; None: all that there is for it.
    """
    limits = limits or Limits()
    threads = threads or cores()
    decoders = Decoders(threads, memory)
    batcher = Batcher(decoders.decode, batch_size, wait, threads, metrics)
    service = Service(reloader, limits, metrics, batcher)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with decoders, pixel_limit(limits.pixels):
            decoders.start()
            works = (batcher.run, batcher.give_back_memory, reloader.run)
            tasks = [asyncio.create_task(work()) for work in works]
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
    app.state.is_stopping = False  # the server says when
    app.state.batcher = batcher
    app.add_middleware(RequestMiddleware, hosts=hosts, limits=limits, metrics=metrics)
    add_answers(app, service)
    add_state(app, service, patience)
    add_pages(app)
    add_problems(app, metrics)
    return app


@contextmanager
def pixel_limit(most: int) -> Iterator[None]:
    """Lets Pillow open no photo of more pixels in this process while the block runs."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def add_answers(app: FastAPI, service: Service) -> None:
    """What a photo is sent to."""

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


def add_state(app: FastAPI, service: Service, patience: float) -> None:
    """What the service knows, and how it does."""

    @app.get("/labels", summary="What the model knows, and what it may be asked")
    async def labels() -> Labels:
        return schemas.labels(service.reloader.model, service.explains, service.limits)

    @app.get("/live", summary="Whether the service runs at all")
    async def live() -> Live:
        """It does where this is answered. Where it is not, start the service anew."""
        return Live()

    @app.get(
        "/health",
        summary="Whether the service is to be asked",
        responses={503: {"model": Health, "description": "It is not ready"}},
    )
    async def health(response: Response) -> Health:
        """It is ready from the first, for the port opens once a model has answered; until it is
        about to stop, or while a photo or the network keeps it longer than is usual. Of several
        workers the one that answers speaks for itself.
        """
        reloader, reason = service.reloader, not_ready(app, service.batcher, patience)
        response.status_code = 200 if reason is None else 503
        return Health(
            ready=reason is None,
            reason=reason,
            version=app.version,
            process=os.getpid(),
            model=reloader.model.bundle.sha256,
            bundle=str(reloader.model.bundle.folder),
            problem=reloader.problem,
        )

    @app.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def not_ready(app: FastAPI, batcher: Batcher, patience: float) -> str | None:
    """Why the service is not to be asked; None: it is."""
    if app.state.is_stopping:
        return "it is about to stop"
    if not batcher.is_running:
        return "it answers no photos any more; its log says why"
    if (seconds := batcher.longest) > patience:
        return f"it has been at one piece of work for {seconds:.0f} s"
    return None


def add_pages(app: FastAPI) -> None:
    """What people look at."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE))


def add_problems(app: FastAPI, metrics: Metrics) -> None:
    """Has every error answered alike: {"detail": a sentence}."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return refusal(error, metrics)

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
        return refusal(
            Refused(500, "error", "the service met an error of its own; its log has more"), metrics
        )
