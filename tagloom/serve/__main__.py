"""``python -m tagloom.serve``, the same as ``tagloom serve``."""

from tagloom.__main__ import app

if __name__ == "__main__":
    app(["serve", *__import__("sys").argv[1:]], prog_name="tagloom")
