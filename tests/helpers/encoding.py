"""Images as the bytes of a file."""

import io

from PIL import Image

KINDS = {"JPG": "JPEG", "TIF": "TIFF", "PGM": "PPM"}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of an image file; `kind` is a format of Pillow's or the suffix of a file."""
    buffer = io.BytesIO()
    image.save(buffer, KINDS.get(kind.upper(), kind.upper()), **options)
    return buffer.getvalue()
