"""The report of an animation: what it shows, and where it is."""

from __future__ import annotations

from typing import Any

from convcli.cli.report.terminal import labelled
from convcli.cli.report.text import described, place, written_json
from convcli.learn.animation import AnimationResult
from convcli.shapes.parse import show


def animation_lines(result: AnimationResult) -> list[str]:
    """Describe the animation that was written."""
    operands, scene, written = result.operands, result.scene, result.written
    kernel = f"{operands.kernel.name} ({show(operands.conv_layout.kernel)})"
    rows = [("animation", f"{described(operands.data)} with {kernel}")]
    if parts := _parts(result):
        rows.append(("shows", "; ".join(parts)))
    what = {"forward": "output", "dx": "value of dx", "dw": "value of dw"}[scene.view]
    shape = scene.result.shape[1:] if len(scene.channels) == 1 else _shape(result)
    if result.fps is None:
        rows.append(("frame", f"one of {scene.frame_count}, one for each {what}"))
    else:
        rows.append(
            (
                "frames",
                f"{result.frames}, one for each {what} of {show(shape)}; "
                f"{result.fps:.3g} per second",
            )
        )
    size = f"{result.layout.width}x{result.layout.height} pixels"
    rows.append(("wrote", f"{place(written)} ({size}, {written.bytes:,} bytes)"))
    return labelled(rows, indent="")


def _shape(result: AnimationResult) -> tuple[int, ...]:
    channels, *spatial = result.scene.result.shape
    return (*spatial, channels)


def _parts(result: AnimationResult) -> list[str]:
    """Describe what is left out."""
    a, scene = result.operands.conv_layout, result.scene
    parts = []
    if [len(run) for run in result.part] != list(a.spatial):
        ranges = ",".join(f"{run.start}:{run.stop}" for run in result.part)
        parts.append(f"samples {ranges} of {show(a.spatial)}")
    if a.batch_axes and a.shape[0] > 1:
        parts.append(f"item 0 of {a.shape[0]}")
    if len(scene.channels) < len(scene.result):
        parts.append(f"channel {scene.channels[0]} of {len(scene.result)}")
    pairs, rows = max(map(len, scene.pairs)), len(result.layout.sources)
    if rows < pairs:
        parts.append(f"{rows} of {pairs} channels that are summed")
    return parts


def animation_json(result: AnimationResult) -> dict[str, Any]:
    operands, scene = result.operands, result.scene
    return {
        "op": result.layer.op,
        "input": {
            "name": operands.data.name,
            "shape": list(operands.conv_layout.shape),
            "notes": list(operands.data.notes),
        },
        "kernel": {"name": operands.kernel.name, "shape": list(operands.conv_layout.kernel)},
        "view": scene.view,
        "part": [[run.start, run.stop] for run in result.part],
        "channels": list(scene.channels),
        "frames": result.frames,
        "fps": result.fps,
        "width": result.layout.width,
        "height": result.layout.height,
        "animation": written_json(result.written),
    }
