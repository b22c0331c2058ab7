"""Templates: the shape of a generated file around blocks of finished text, with the blank lines that black leaves."""

from __future__ import annotations

import re
from functools import cache


@cache
def environment():
    """Jinja with every mistake an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("leec.emit", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **parts: object) -> str:
    text = environment().get_template(template).render(**parts)
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip("\n") + "\n"
