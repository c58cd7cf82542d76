"""Measure the laws of convolution (laws), explain outputs (explain), read the guide (guide)."""
