"""Discrete convolution: one numpy engine behind a command line and this interface.

Importing the package loads no numpy; each public name loads what it needs on first use.

>>> import convcli
>>> convcli.output_shape((28, 28), (3, 3))
(26, 26)
"""

from __future__ import annotations

__version__ = "0.1.0"
