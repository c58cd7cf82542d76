"""The page as one HTML file: its data as JSON, its script and its style, without any request."""

from __future__ import annotations

import base64
import html
import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convcli.options import LANGUAGES

COMPACT = ("uint8", "int8", "uint16", "int16", "int32", "float32")
"""Number types that a page stores values in, if one of them holds all of them exactly."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

TEMPLATE = """\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{generator}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<noscript>{noscript}</noscript>
<script id="data" type="application/json">{data}</script>
<script type="module">
{script}</script>
</body>
</html>
"""


def packed(values: NDArray[Any]) -> dict[str, Any]:
    """Return an array as JSON: its shape, its number type, and its bytes in base64.

    The type is the smallest one of COMPACT that holds every value, otherwise float64.

    >>> packed(np.array([[1.0, 2.0]]))
    {'shape': [1, 2], 'type': 'uint8', 'data': 'AQI='}
    """
    wide = np.ascontiguousarray(values, np.float64)
    for name in COMPACT:
        with np.errstate(invalid="ignore", over="ignore"):
            small = wide.astype(name)
        same = small.astype(np.float64)
        if np.array_equal(same, wide) and not np.any(np.signbit(wide) & (wide == 0)):
            break
    else:
        name, small = "float64", wide
    content = small.astype(np.dtype(name).newbyteorder("<")).tobytes()
    return {
        "shape": list(values.shape),
        "type": name,
        "data": base64.b64encode(content).decode(),
    }


def document(payload: dict[str, Any], *, title: str, language: str, generator: str) -> str:
    """Return the page. payload: what the script reads, besides its texts in every language."""
    texts = {name: json.loads(_asset(f"{name}.json")) for name in LANGUAGES}
    return TEMPLATE.format(
        language=language,
        policy=POLICY,
        generator=html.escape(generator),
        title=html.escape(title),
        style=_asset("page.css"),
        noscript=html.escape(texts[language]["noscript"]),
        data=_inert({**payload, "texts": texts, "language": language}),
        script=_asset("page.js"),
    )


def _inert(payload: dict[str, Any]) -> str:
    """Return JSON without the characters that could end a script element."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
