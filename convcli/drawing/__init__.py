"""Draw pictures by Pillow: the colours in palette.py, shapes and text in canvas.py.

Nothing here knows of convolutions: callers place values, text and lines on a canvas.
"""
