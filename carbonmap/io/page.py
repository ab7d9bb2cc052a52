"""Pages of HTML; jinja2's one owner."""

from __future__ import annotations

from importlib import resources

import jinja2

from carbonmap.types import Json


def render(name: str, context: Json) -> str:
    """A page of `carbonmap/data` with its values in place, every one of them escaped.

    Args:
        name: of the page.
        context: what it names; what it names besides is an error.
    """
    text = resources.files("carbonmap").joinpath("data", name).read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text).render(context)
