"""``tagloom serve``: the options, and what is started with them."""

import re
from typing import Annotated, Literal

import typer

from tagloom import options
from tagloom.serve.limits import MB, Limits

DEFAULT = Limits()
LIMITS = "Limits"
OPERATION = "Operation"


def host_name(names: list[str] | None) -> list[str] | None:
    """``names``, each the name of a host and nothing else.

    Raises:
        typer.BadParameter: one is more, as an address of a page is.
    """
    for name in names or []:
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*\.?", name):
            raise typer.BadParameter(f"{name!r} is no name of a host, like photos.example.org")
    return names


def serve(
    bundle: options.Bundle = options.BUNDLE,
    champion: Annotated[
        bool,
        typer.Option(
            "--champion",
            help="Serve the model that this project has promoted, and each that is promoted later, "
            "instead of a bundle.",
        ),
    ] = False,
    onnx: options.Onnx = False,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name under which browsers may ask, besides localhost and addresses in figures.",
            callback=host_name,
            show_default=False,
        ),
    ] = None,
    poll: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="How often to look for a new model."),
    ] = 10.0,
    batch_size: options.BatchSize = 32,
    wait: Annotated[
        float,
        typer.Option(
            min=0, max=1000, metavar="MS", help="How long photos wait for others to go with."
        ),
    ] = 5.0,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Photos that are decoded at once; by default as many as there are cores, shared "
            "by the workers.",
            show_default=False,
        ),
    ] = None,
    max_requests: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="That are answered at once; one more is told to come back (429).",
            rich_help_panel=LIMITS,
        ),
    ] = DEFAULT.requests,
    max_photos: Annotated[
        int, typer.Option(min=1, metavar="N", help="In a request.", rich_help_panel=LIMITS)
    ] = DEFAULT.photos,
    max_photo: Annotated[
        float, typer.Option(min=0.001, metavar="MB", help="Of one file.", rich_help_panel=LIMITS)
    ] = DEFAULT.photo_bytes / MB,
    max_request: Annotated[
        float,
        typer.Option(min=0.001, metavar="MB", help="Of a whole request.", rich_help_panel=LIMITS),
    ] = DEFAULT.request_bytes / MB,
    max_memory: Annotated[
        float,
        typer.Option(
            min=0.001,
            metavar="MB",
            help="Of all requests together that are arriving or waiting.",
            rich_help_panel=LIMITS,
        ),
    ] = DEFAULT.held_bytes / MB,
    max_pixels: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Width × height of a photo.", rich_help_panel=LIMITS),
    ] = DEFAULT.pixels,
    max_caption: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Characters of one.", rich_help_panel=LIMITS),
    ] = DEFAULT.caption,
    max_seconds: Annotated[
        float,
        typer.Option(min=0.1, metavar="S", help="For a request to arrive.", rich_help_panel=LIMITS),
    ] = DEFAULT.seconds,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            metavar="N",
            help="Processes that share the port, each with a model and limits of its own.",
            rich_help_panel=OPERATION,
        ),
    ] = 1,
    notice: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="S",
            help="On SIGTERM: how long to say at /health that the end is near, and still answer.",
            rich_help_panel=OPERATION,
        ),
    ] = 3.0,
    grace: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="S",
            help="How long requests then have to be answered; whatever happens, it ends.",
            rich_help_panel=OPERATION,
        ),
    ] = 30,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Of the log, a line a request.", rich_help_panel=OPERATION),
    ] = "text",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(help="Below which nothing is logged.", rich_help_panel=OPERATION),
    ] = "info",
) -> None:
    """Answer over HTTP, with a page to try the model.

    The page is at /, and /docs says what there is for programs. Nobody but
    this machine reaches it, unless --host says otherwise. A new bundle in
    the same folder comes in use without a request being dropped.

    [bold]Examples[/bold]
      tagloom serve
      curl -F photos=@holiday.jpg -F captions="two dogs" localhost:8000/predict
      tagloom serve --champion --onnx --port 9000
    """
    try:
        from tagloom.serve import request_log
        from tagloom.serve.server import Address, Settings, Stopping, run
        from tagloom.serve.workers import Workers
    except ModuleNotFoundError as error:
        from stages import UserError

        raise UserError(
            f"the service needs {error.name}, which is missing: pip install 'tagloom[serve]'"
        ) from error

    limits = Limits(
        photo_bytes=round(max_photo * MB),
        request_bytes=round(max_request * MB),
        held_bytes=round(max_memory * MB),
        pixels=max_pixels,
        photos=max_photos,
        caption=max_caption,
        seconds=max_seconds,
        requests=max_requests,
    )
    settings = Settings(
        folder=None if champion else bundle,
        runtime="onnx" if onnx else "torch",
        address=Address(host, port, tuple(allow_host or ())),
        poll=poll,
        limits=limits,
        batch_size=batch_size,
        wait=wait / 1000,
        threads=threads,
        stopping=Stopping(notice, grace),
        style=log_format,
        level=log_level,
    )
    request_log.set_up(log_format, log_level)
    if workers == 1:
        run(settings)
    else:
        Workers(settings, workers).run()
