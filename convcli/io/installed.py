"""Which formats this installation reads and writes: Pillow may have been built without the codecs of some."""

from __future__ import annotations

from convcli.io.formats import Format


def available(form: Format) -> bool:
    """Whether everything is there that the format needs.

    >>> from convcli.io.formats import lookup
    >>> available(lookup("npy"))
    True
    """
    if not form.codec:
        return True
    from PIL import features

    return bool(features.check(form.codec))
