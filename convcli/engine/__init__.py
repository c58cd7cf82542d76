"""The numpy engine: operations make a plan, `execute` runs it with one of the strategies."""

from convcli.engine.operations import conv_layer, convolve, correlate, plan

__all__ = ["conv_layer", "convolve", "correlate", "plan"]
