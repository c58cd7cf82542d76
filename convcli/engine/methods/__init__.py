"""The methods that compute a convolution, one in each file, and the tools that they share."""
