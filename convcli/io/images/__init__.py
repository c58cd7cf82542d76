"""Pictures: reading and writing them, their modes, frames, palettes and metadata."""
