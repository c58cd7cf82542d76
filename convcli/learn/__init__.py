"""See why it works: the laws of convolution measured (laws), and one output explained (explain)."""
