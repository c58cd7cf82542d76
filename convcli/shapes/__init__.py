"""The sizes of convolutions: one axis, the options, the axes of a kernel, and a layer. Standard library only."""
