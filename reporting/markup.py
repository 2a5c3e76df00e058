"""HTML for the report: text, tables and lists of facts. Text is escaped."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from support.images import thumbnail
from support.text import printable

VERDICT_WORDS = {"safe": "safe", "unsafe": "unsafe", "unclear": "unclear", "": "not judged"}


def picture_uri(file: Path, side: int, quality: int) -> str:
    """An image as the report holds it, a JPEG as a data URI."""
    buffer = io.BytesIO()
    thumbnail(file, side).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def escaped(value: object) -> str:
    """Any value as text in HTML; markup in it is displayed, not interpreted."""
    return html.escape(printable(str(value)), quote=True)


def html_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", numbers: Iterable[int] = ()
) -> str:
    """A table of cells that are already HTML; `numbers` are the columns that contain numbers."""
    right = set(numbers)

    def cells(tag: str, row: Sequence[str]) -> str:
        kind = " scope='col'" if tag == "th" else ""
        return "".join(f"<{tag}{kind}{' class=n' if i in right else ''}>{cell}</{tag}>" for i, cell in enumerate(row))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return (
        f"<div class='scroll'><table>{head}<thead><tr>{cells('th', [escaped(name) for name in headers])}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def fact_list(facts: Iterable[tuple[str, str]]) -> str:
    """A list of terms and values; values are already HTML, and empty ones are left out."""
    return f"<dl class='facts'>{''.join(f'<dt>{escaped(t)}</dt><dd>{v}</dd>' for t, v in facts if v)}</dl>"


def path_text(path: object) -> str:
    """A path, in a monospaced font."""
    return f"<span class='path'>{escaped(path)}</span>"


def badge(verdict: str) -> str:
    """A verdict as a coloured word."""
    return f"<span class='verdict {verdict or 'none'}'>{VERDICT_WORDS[verdict]}</span>"


def warning(text: str) -> str:
    """A paragraph that stands out; empty without a text."""
    return f"<p class='warning'>{escaped(text)}</p>" if text else ""


def percent(share: float) -> str:
    """For example `12.5%`."""
    return f"{share:.1%}"


def more(total: int, shown: int, where: str) -> str:
    """A line that names the file with the whole list; empty if the whole list is displayed."""
    return f"<p class='soft small'>{total - shown:,} more; {escaped(where)} lists all.</p>" if total > shown else ""
