"""The page: an autoescaped template, one style sheet and one script, allowed by their hashes and by nothing else.

All text of models and data goes through jinja2's autoescape. Should an escape ever fail, the Content-Security-Policy
still lets no script, style, request, form or frame run but the two inline blocks whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent / "templates"
CONTROLS = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), *range(127, 160), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}"
)
"""Characters that are a parse error in HTML: shown as � instead."""


def render(view: Mapping[str, Any], template: str = "report.html") -> bytes:
    """The whole page as UTF-8. `view` holds plain values; charts are Markup. A name that it lacks is an error."""
    from markupsafe import Markup

    style, script = _asset("style.css"), _asset("page.js")
    inline = {"style": Markup(style), "script": Markup(script), "policy": policy(style, script)}
    whole = _environment().get_template(template).render(view, **inline)
    return whole.translate(CONTROLS).encode("utf-8", "replace")


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    from engine.report import charts, flow, words

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"charts": charts, "flow": flow}
    environment.filters |= words.FILTERS
    return environment


def policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: nothing is fetched, pictures are inside the page."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
