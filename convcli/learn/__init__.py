"""The laws of convolution measured, and one output explained."""
