"""What ``make pages`` makes pages of, by Sphinx and MyST: the documents where they lie."""

from sphinx.application import Sphinx

project = "Tagloom"
author = "The Tagloom authors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_static_path = []
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "benchmarks/*.md", "presets/*.md"]
exclude_patterns = [".*", "data", "models", "report", "site", "stages", "tests"]
# Mermaid's drawing of the rooms stays text: its script would have to be fetched by each reader.
suppress_warnings = ["misc.highlighting_failure"]

# In README.md, which people read elsewhere too, there is no table of contents.
CONTENTS = {
    "Your data": ["docs/data", "docs/labelling", "docs/projects"],
    "Better models": [
        *("docs/experiments", "docs/gpus", "docs/cluster", "docs/report", "docs/results"),
        "presets/README",
    ],
    "In use": [
        *("docs/using", "docs/service", "docs/retraining", "docs/prefect", "docs/pools"),
        "docs/remotes",
    ],
    "Inside": [
        *("ARCHITECTURE", "CONTRIBUTING", "benchmarks/README", "benchmarks/scale", "CHANGELOG"),
        "docs/glossary",
    ],
}


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Lists the pages at the side, by means of the page that all begins with."""
    if page == root_doc:
        for caption, pages in CONTENTS.items():
            lines = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{lines}\n```\n"


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_contents)
