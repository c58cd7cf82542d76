"""The methods that compute a convolution, one per file, and the tools that they share.

::

    direct      the sum over taps: the readable reference
    gemm        a layer as matrix products
    depthwise   a layer with one kernel per channel
    full_rank   a kernel that is no product of 1-D factors, as banded matrix products
    separable   a kernel as a sum of products of 1-D factors
    fft         overlap-save by Fourier transforms

    bands       banded (Toeplitz) matrices of 1-D kernels
    windows     strided views of the windows under a tile
    summation   pairwise sums
"""
