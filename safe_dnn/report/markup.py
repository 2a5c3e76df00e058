"""HTML: templates that are filled in. Text is escaped, but what is Markup."""

import base64
import html
import io
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from PIL import Image

from safe_dnn.rccs import confidence
from safe_dnn.rccs.review.journal import NOT_JUDGED, REGISTER, SCOPE, VERDICTS, judgements, title
from safe_dnn.support.images import thumbnail
from safe_dnn.support.text import count, display_name, printable, range_text, rate_text, some

LOOSE = Markup("<span class='verdict unclear'>loose</span>")


def picture_uri(file: Path, side: int, quality: int) -> str:
    """An image as the report holds it (see `jpeg_uri`)."""
    return jpeg_uri(thumbnail(file, side), quality)


def jpeg_uri(image: Image.Image, quality: int) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def escaped(value: object) -> str:
    """Any value as text in HTML; markup in it is displayed, not interpreted."""
    return html.escape(printable(str(value)), quote=True)


def path_text(path: object) -> Markup:
    """A path, in a monospaced font."""
    return Markup(f"<span class='path'>{escaped(path)}</span>")


def badge(verdict: str) -> Markup:
    """A verdict as a coloured word."""
    return Markup(f"<span class='verdict {verdict or 'none'}'>{verdict or NOT_JUDGED}</span>")


def warning(text: str) -> Markup:
    """A paragraph that stands out; empty without a text."""
    return Markup(f"<p class='warning'>{escaped(text)}</p>" if text else "")


def percent(share: float) -> str:
    """For example `12.5%`."""
    return f"{share:.1%}"


def filled(template: str, **values: object) -> Markup:
    """A file of `templates/`, or one given from the root, with these values; text is escaped, but what is Markup."""
    text = _TEMPLATES.get_template(template).render(values).strip()
    # Between tags, a new line of the template is no space
    return Markup(printable(re.sub(r">\s*\n\s*<", "><", text)))


_HERE = Path(__file__).parent
_LOADER = FileSystemLoader([_HERE / "templates", _HERE.parent])
_TEMPLATES = Environment(loader=_LOADER, autoescape=True, trim_blocks=True, lstrip_blocks=True)
_TEMPLATES.filters |= {"f": format, "n": "{:,}".format}
_TEMPLATES.globals |= {
    "REGISTER": REGISTER, "SCOPE": SCOPE, "VERDICTS": VERDICTS, "badge": badge, "confidence": confidence,
    "count": count, "display_name": display_name, "judgements": judgements, "loose": LOOSE, "path": path_text,
    "percent": percent, "range_text": range_text, "rate_text": rate_text, "some": some, "title": title,
    "warning": warning,
}  # fmt: skip
