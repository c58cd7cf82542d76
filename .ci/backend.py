"""The build backend: setuptools, and in the sdist also what the tests need.

setuptools reads MANIFEST.in from the top of the project; this one lies here.
"""

from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - a backend's hooks are the names of its module
from setuptools.command.egg_info import manifest_maker


def build_sdist(*arguments: Any, **options: Any) -> str:
    """Build an sdist with the files of .ci/MANIFEST.in, a path relative to the project, where
    backends run.
    """
    manifest_maker.template = ".ci/MANIFEST.in"
    return build_meta.build_sdist(*arguments, **options)
