"""The model card of the bundle as a section of the page."""

from markdown_it import MarkdownIt
from markupsafe import Markup

from stages.bundle.bundle import BUNDLE, CARD

DEEPER = 2  # levels that its headings go down, below that of the section
SCROLLS = 'class="scroll" role="region" aria-label="{}" tabindex="0"'


def read_card() -> Markup:
    """The bundle's ``README.md`` as HTML."""
    return render((BUNDLE / CARD).read_text("utf-8"))


def render(markdown: str) -> Markup:
    """Markdown as HTML: tags in it are text, and pictures, which would be loaded, are links."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    opening = f"<div {SCROLLS.format('Table of the model card')}><table>"
    parser.add_render_rule("table_open", lambda *_: opening)
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + DEEPER, 6)}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "fence":
            token.attrSet("tabindex", "0")
    return Markup(parser.renderer.render(tokens, parser.options, {}))
