"""``python -m tagloom.serve``, the same as ``tagloom serve``."""

import typer

from tagloom.serve.command import serve

if __name__ == "__main__":
    typer.run(serve)
