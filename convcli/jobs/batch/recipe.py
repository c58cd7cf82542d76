"""What every output of a batch is made by: one job without its files, its kernels resolved, and the digest of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace

from convcli import __version__
from convcli.jobs.apply import Job
from convcli.kernels import Kernel, fewest_axes, kernel

NEUTRAL = frozenset({"input", "output", "kernels", "overwrite", "verify", "max_memory", "max_pixels"})
"""What no value of an output depends on, and the kernels, which the digest takes by their taps."""


@dataclass(frozen=True)
class Recipe:
    """A job to be done to one input after another, and the SHA-256 of all that its results depend on but the input."""

    job: Job
    digest: str

    @classmethod
    def of(cls, job: Job) -> Recipe:
        """Resolve the job's kernels, once for all inputs where they do not depend on them.

        A kernel from a file is read now, and what becomes of the file later does not matter; a named one that takes
        as many axes as an input has stays a name. Raises KernelError and its kin for one that means nothing.

        >>> job = Job(input="", kernels=("1,0,-1", "gaussian:sigma=2"))
        >>> Recipe.of(job).job.kernels
        (Kernel('1,0,-1', shape=(3,), rank=1), 'gaussian:sigma=2')
        >>> Recipe.of(job).digest == Recipe.of(replace(job, scale=2.0)).digest
        False
        """
        resolved = [kernel(reference, dims=job.dims) for reference in job.kernels]
        named = [isinstance(given, str) and fewest_axes(given) is not None for given in job.kernels]
        kept = tuple(
            given if by_name else whole for given, by_name, whole in zip(job.kernels, named, resolved, strict=True)
        )
        settings = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in NEUTRAL}
        content = {
            "version": __version__,
            "kernels": [_content(whole, by_name) for whole, by_name in zip(resolved, named, strict=True)],
            **settings,
        }
        told = json.dumps(content, sort_keys=True, default=repr)
        return cls(replace(job, kernels=kept), hashlib.sha256(told.encode()).hexdigest())


def shared(recipe: Recipe, jobs: int) -> Recipe:
    """The recipe for one of so many processes, which share the memory that there may be.

    >>> shared(Recipe.of(Job(input="", kernels=("box",), max_memory=4000)), 4).job.max_memory
    1000
    """
    return replace(recipe, job=replace(recipe.job, max_memory=recipe.job.limits.memory // jobs))


def _content(resolved: Kernel, by_name: bool) -> list[object]:
    """A kernel's taps; and its full name, where another input may ask it for other axes."""
    taps = hashlib.sha256(resolved.taps.tobytes()).hexdigest()
    return [resolved.shape, taps, resolved.name if by_name else ""]
