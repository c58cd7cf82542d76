"""Draw the sample inputs: `python samples/draw.py [FOLDER]` (default: the folder of this file).

photo.png    (256, 384, 3) uint8   a lake at dusk: gradients, edges, texture and a little grain
digit.png    (28, 28) uint8        a handwritten three, light on dark
logo.png     (96, 96, 4) uint8     nine tiles, whose alpha is the binomial kernel (1 2 1) x (1 2 1)
signal.csv   (512,) text           a sine, a step and noise, one number per line
volume.npy   (24, 24, 24) float32  a ball inside a shell, and a smaller ball outside it

Everything is computed from fixed seeds by numpy; Pillow only writes the files, so no version of it
changes a pixel.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Array = NDArray[np.float64]


# Shared strokes: noise, soft edges, paint.


def smoothstep(low: float, high: float, value: ArrayLike) -> Array:
    """Rise from 0 at low to 1 at high with flat ends; low > high falls instead."""
    t = np.clip((np.asarray(value, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def value_noise(rng: Generator, shape: Sequence[int], cells: Sequence[int]) -> Array:
    """Interpolate a random lattice of `cells` cells smoothly to `shape`; values in 0..1."""
    field = rng.random([count + 1 for count in cells])
    for axis, (size, count) in enumerate(zip(shape, cells, strict=True)):
        place = np.arange(size) * count / size
        before = place.astype(np.intp)
        blend = smoothstep(0.0, 1.0, place - before).reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
        field = field.take(before, axis) * (1.0 - blend) + field.take(before + 1, axis) * blend
    return field


def fractal(rng: Generator, shape: Sequence[int], cells: Sequence[int], octaves: int) -> Array:
    """Sum octaves of noise, each twice as fine and half as strong; values in 0..1."""
    layers = [
        value_noise(rng, shape, [count << k for count in cells]) / 2.0 ** (k + 1)
        for k in range(octaves)
    ]
    return np.asarray(sum(layers) / (1.0 - 0.5**octaves))


def paint(canvas: Array, colour: ArrayLike, cover: Array) -> None:
    """Paint a colour or an image over the canvas (H, W, 3), in place, with opacity cover (H, W)."""
    canvas += (np.asarray(colour) - canvas) * cover[..., None]


def ramp(stops: Sequence[tuple[float, tuple[float, float, float]]], value: Array) -> Array:
    """Look values up in a colour ramp: (...) to (..., 3)."""
    places, colours = zip(*stops, strict=True)
    return np.stack(
        [np.interp(value, places, channel) for channel in zip(*colours, strict=True)], axis=-1
    )


def to_bytes(image: Array) -> NDArray[np.uint8]:
    """Round an image in 0..1 to bytes."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


# The photo. Lengths are in picture heights: u runs right from 0 to 1.5, v runs down from 0 to 1.

SHORE = 0.63
SUN = (1.10, 0.405)
SKY = (
    (0.00, (0.13, 0.21, 0.42)),
    (0.25, (0.32, 0.40, 0.62)),
    (0.42, (0.72, 0.58, 0.62)),
    (0.54, (0.97, 0.72, 0.50)),
    (0.63, (1.00, 0.86, 0.64)),
)


def photo() -> NDArray[np.uint8]:
    """Paint the scene at twice its size from back to front, then halve it for smooth edges."""
    rng = default_rng(1957)
    v, u = np.mgrid[0:512, 0:768] / 512.0
    canvas = sky(rng, u, v)
    for layer in range(4):
        hills(canvas, rng, u, v, layer / 3.0)
    lake(canvas, rng, u, v)
    bank(canvas, rng, u, v)
    canvas *= 1.0 - 0.28 * smoothstep(0.35, 1.05, np.hypot(u - 0.75, v - 0.5))[..., None]
    small = canvas.reshape(256, 2, 384, 2, 3).mean(axis=(1, 3))
    return to_bytes(small + rng.normal(0.0, 0.007, (256, 384, 1)))


def sky(rng: Generator, u: Array, v: Array) -> Array:
    """Return the sky at dusk: streaks of cloud lit from below, and the sun with its glow."""
    canvas = ramp(SKY, v)
    far = np.hypot(u - SUN[0], v - SUN[1])
    clouds = smoothstep(0.46, 0.74, fractal(rng, u.shape, (11, 3), 5)) * smoothstep(0.60, 0.30, v)
    paint(canvas, ramp(((0.0, (1.0, 0.80, 0.62)), (0.7, (0.62, 0.50, 0.62))), far), 0.75 * clouds)
    for reach, strength in ((0.60, 0.30), (0.22, 0.42), (0.08, 0.55)):
        paint(canvas, (1.0, 0.88, 0.62), strength * np.exp(-((far / reach) ** 2)))
    paint(canvas, (1.0, 0.98, 0.88), smoothstep(0.045, 0.041, far))
    return canvas


def hills(canvas: Array, rng: Generator, u: Array, v: Array, near: float) -> None:
    """Paint one range of hills; near = 0 is the farthest and haziest, 1 the closest and darkest."""
    ridge = SHORE - 0.02 - (0.40 - 0.30 * near) * fractal(rng, u.shape[1:], (4,), 7) ** 1.2
    depth = v - ridge
    relief = fractal(rng, u.shape, (20, 24), 6)
    slope = 30.0 * (np.gradient(relief, axis=1) - np.gradient(relief, axis=0))
    body = ramp(
        ((0.0, (0.50, 0.43, 0.56)), (0.5, (0.27, 0.29, 0.40)), (1.0, (0.07, 0.13, 0.13))),
        np.array(near),
    )
    lit = body * (1.0 + (0.18 + 0.40 * near) * (slope + relief - 0.5))[..., None]
    haze = smoothstep(0.0, 0.24, depth) * (0.75 - 0.50 * near)
    paint(lit, (0.98, 0.76, 0.60), haze)
    paint(canvas, lit, (depth > 0.0).astype(np.float64))


def lake(canvas: Array, rng: Generator, u: Array, v: Array) -> None:
    """Mirror the picture above the shore, with ripples that widen downwards and a glitter."""
    height, width = u.shape
    shore = int(SHORE * height)
    below = v[shore:] - SHORE
    ripple = fractal(rng, below.shape, (46, 7), 4) - 0.5
    rows = np.clip(
        shore - 1 - (below * 1.45 + 0.35 * ripple * below) * height, 0, shore - 1
    ).astype(np.intp)
    columns = np.clip(
        u[shore:] * height + 26.0 * ripple * (0.15 + below) * 2.0, 0, width - 1
    ).astype(np.intp)
    water = canvas[rows, columns]
    water *= 1.0 - np.array((0.75, 0.58, 0.38)) * (0.25 + 1.3 * below[..., None])
    lane = np.exp(-(((u[shore:] - SUN[0]) / (0.030 + 0.25 * below)) ** 2))
    paint(water, (1.0, 0.84, 0.56), lane * (0.25 + 0.75 * smoothstep(-0.02, 0.16, ripple)))
    paint(water, (1.0, 0.86, 0.70), 0.45 * smoothstep(0.012, 0.0, below))
    canvas[shore:] = water


def bank(canvas: Array, rng: Generator, u: Array, v: Array) -> None:
    """Paint the near bank with its grass and conifers."""
    blades = 0.035 * fractal(rng, u.shape[1:], (130,), 2)
    ground = (
        0.985 - 0.16 * smoothstep(0.62, -0.1, u[0]) - 0.10 * smoothstep(1.10, 1.55, u[0]) - blades
    )
    soil = (
        np.array((0.062, 0.075, 0.072))
        * (0.4 + 1.3 * fractal(rng, u.shape, (60, 60), 3))[..., None]
    )
    for foot, tall in (
        (0.06, 0.50),
        (0.155, 0.66),
        (0.245, 0.40),
        (0.335, 0.27),
        (1.335, 0.30),
        (1.43, 0.46),
    ):
        paint(canvas, soil, conifer(rng, u - foot, (v - (0.90 - tall)) / tall, tall))
    paint(canvas, soil, (v > ground).astype(np.float64))


def conifer(rng: Generator, across: Array, down: Array, tall: float) -> Array:
    """Return the cover of a conifer; `down` is 0 at the tip and 1 at the foot."""
    tiers = 9.0 + 12.0 * tall
    ragged = 0.30 * (fractal(rng, across.shape, (70, 50), 2) - 0.5)
    droop = down - 0.35 * np.abs(across) / tall
    reach = tall * 0.21 * down * (0.62 + 0.55 * ((droop * tiers) % 1.0) + ragged)
    needles = (np.abs(across) < reach) & (down > 0.0) & (down < 0.93)
    trunk = (np.abs(across) < 0.003 + 0.012 * tall * down) & (down > -0.01)
    return (needles | trunk).astype(np.float64)


# The small ones.


def digit() -> NDArray[np.uint8]:
    """Draw a three with a pen along a smooth curve, thicker in its middle, with a soft edge."""
    x = (7.6, 10.2, 15.4, 18.4, 16.8, 12.6, 17.4, 20.0, 17.6, 12.0, 7.4)
    y = (8.2, 5.2, 4.6, 7.6, 11.4, 13.2, 14.2, 18.0, 22.2, 23.4, 20.8)
    knots = np.column_stack([x, y])
    pen = through(knots, 40)
    pressure = 1.05 + 0.55 * np.sin(np.linspace(0.2, np.pi - 0.2, len(pen)))
    row, column = np.mgrid[0:28, 0:28]
    gap = np.hypot(column[..., None] - pen[:, 0], row[..., None] - pen[:, 1]) - pressure
    return to_bytes(smoothstep(0.6, -0.6, gap.min(axis=-1)))


def through(knots: Array, steps: int) -> Array:
    """Sample the Catmull-Rom spline through the knots (P, 2), with `steps` points per span."""
    ends = np.concatenate([knots[:1], knots, knots[-1:]])
    a, b, c, d = (ends[k : len(ends) - 3 + k, None] for k in range(4))
    t = (np.arange(steps) / steps)[:, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2))


def logo() -> NDArray[np.uint8]:
    """Draw nine rounded tiles. Clear pixels are bright green, so that a filter must use alpha."""
    v, u = (np.mgrid[0:96, 0:96] + 0.5) / 32.0
    corner = np.maximum(np.abs(np.stack([u, v]) % 1.0 - 0.5) - 0.24, 0.0)
    tile = smoothstep(0.19, 0.15, np.hypot(*corner))
    weight = np.array([1.0, 2.0, 1.0]) / 2.0
    alpha = tile * np.outer(weight, weight)[v.astype(np.intp), u.astype(np.intp)]
    colour = ramp(
        ((0.0, (0.98, 0.70, 0.25)), (0.5, (0.90, 0.30, 0.40)), (1.0, (0.30, 0.25, 0.70))),
        (u + v) / 6.0,
    )
    colour[alpha == 0.0] = (0.0, 1.0, 0.0)
    return to_bytes(np.dstack([colour, alpha]))


def signal() -> Array:
    """Return 512 samples: a sine of period 128, a step of 1.5 at 320, noise of deviation 0.2."""
    n = np.arange(512)
    noise = default_rng(7).normal(0.0, 0.2, n.size)
    return np.asarray(np.sin(2.0 * np.pi * n / 128.0) + 1.5 * (n >= 320) + noise)


def volume() -> NDArray[np.float32]:
    """Return a soft ball inside a soft shell, and a fainter, smaller ball outside it."""
    z, y, x = np.mgrid[0:24, 0:24, 0:24]

    def distance(*centre: float) -> Array:
        return np.asarray(
            np.sqrt(sum((axis - c) ** 2 for axis, c in zip((z, y, x), centre, strict=True)))
        )

    main = distance(13.0, 13.0, 10.5)
    shell = 0.8 * np.exp(-(((main - 8.0) / 1.0) ** 2))
    ball = smoothstep(5.5, 2.5, main)
    moon = 0.6 * smoothstep(3.5, 1.5, distance(4.0, 4.5, 19.0))
    return np.maximum(np.maximum(shell, ball), moon).astype(np.float32)


PICTURES: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "photo": photo,
    "digit": digit,
    "logo": logo,
}


def draw(folder: Path) -> None:
    """Write every sample into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in PICTURES.items():
        Image.fromarray(picture()).save(folder / f"{name}.png", optimize=True)
    np.savetxt(folder / "signal.csv", signal(), fmt="%.4f")
    np.save(folder / "volume.npy", volume())


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
