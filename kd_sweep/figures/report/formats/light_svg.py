"""SVG that weighs less and looks the same: shorter numbers, pixels of a palette, nothing that is not shown."""

import base64
import io
import re

_NOT_SHOWN = re.compile(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", re.DOTALL)
_GROUP = re.compile(r'<g id="[^"]*"')
"""Nothing refers to a group, and several of a figure may have one name."""
_PATH = re.compile(r'(?<= d=")[^"]+')
_NUMBER = re.compile(r"-?\d+\.\d+")
_PIXELS = re.compile(r"(?<=data:image/png;base64,)[^\"]+")
_COLORS = 256


def lighter(svg: str) -> str:
    """Return a drawing of matplotlib's with coordinates to a hundredth of a point, and pixels of 256 colours."""
    svg = _GROUP.sub("<g", _NOT_SHOWN.sub("", svg))
    svg = _PATH.sub(lambda path: _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", path[0]), svg)
    return _PIXELS.sub(lambda pixels: _with_palette(pixels[0]), svg)


def _with_palette(png: str) -> str:
    """Return an image in base64 with a palette."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        reduced = image.convert("RGBA").quantize(_COLORS, Image.Quantize.FASTOCTREE)
    content = io.BytesIO()
    reduced.save(content, format="PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()
