"""The parts of a page that holds all it shows: no request leaves it."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

Row = Sequence[str]  # HTML
Section = tuple[str, str, str]  # identifier, title, content as HTML


def page(title: str, sections: Iterable[Section]) -> str:
    """Return a page, HTML, that begins with links to its sections."""
    parts = list(sections)
    template = Template((files("kfr") / "report_page.html").read_text("utf-8"))
    links = "".join(f'<a href="#{name}">{text}</a>' for name, text, _ in parts)
    body = "".join(_section(*part) for part in parts)
    values = {"title": escape(title), "links": links, "body": body}
    return template.substitute(values)


def table(columns: Sequence[str], rows: Iterable[Row], name: str) -> str:
    """Return a table that can be scrolled by keyboard; `rows` hold cells as HTML."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return f"<td>{escape(text)}</td>"


def number(text: str) -> str:
    """Return a number as a cell of a table."""
    return f'<td class="n">{escape(text)}</td>'


def chart(drawn: bytes | None, title: str, caption: str) -> str:
    """Return a figure, SVG, with a caption; the caption alone, without one."""
    told = f"<figcaption>{escape(caption)}</figcaption>"
    if drawn is None:
        return f"<figure>{told}</figure>"
    source = address(drawn, "image/svg+xml")
    image = f'<img class="chart" src="{source}" alt="{escape(title)}">'
    return f"<figure>{image}{told}</figure>"


def photos(drawn: bytes, title: str, caption: str) -> str:
    """Return pictures, PNG, with a caption; as they are on a dark page, too."""
    image = f'<img src="{address(drawn, "image/png")}" alt="{escape(title)}"'
    told = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure>{image} style="max-width: 100%">{told}</figure>'


def address(content: bytes, kind: str) -> str:
    """Return the address of an image that the page itself holds."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _section(name: str, title: str, content: str) -> str:
    head = f'<h2 id="{name}-title">{escape(title)}</h2>'
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">{head}{content}</section>'
    )
