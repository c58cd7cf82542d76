"""Gradients of a convolution, and the check of analytic gradients against numeric ones, in float64.

The loss is sum(dy * y). A convolution is linear in x, in w and in its bias, so the central
difference (L(v + eps) - L(v - eps)) / (2 eps) has no truncation error at any step. Only round-off
remains, which is smaller for larger steps; the default step is 1. A sweep over steps shows this: on
logarithmic axes the error has slope -1, but for a nonlinear loss, sum(y^3) / 3, it has the usual
V shape.

There are three tests of each of dx, dw and db:

- Central differences, entry by entry. The relative error is |a - n| / max(|a|, |n|), and 0/0
  passes. The denominator is at least 1e-12 of the tensor's largest gradient, because smaller
  differences are round-off of the sum. Thresholds (Karpathy et al., CS231n notes, "Gradient
  checks", for float64): at most 1e-7 is good, above 1e-4 is suspect, above 1e-2 is wrong; a check
  passes up to 1e-4.
- The adjoint test, <A v, dy> = <v, A' dy> for a random v, which includes every entry. Both sides
  may differ by 1e-10 of |A v| |dy|. Source: Claerbout, "Earth Soundings Analysis", 1992, the
  dot-product test.
- Two analytic results: the engine's, and the products with the transposes of the explicit matrices
  of `toeplitz`, which share no code with the engine. They may differ by 1e-10 of the largest
  gradient. This test runs only if the matrices are small.
"""

from convcli.grad.check import check_layout_gradients, gradcheck
from convcli.grad.records import GradcheckReport

__all__ = ["GradcheckReport", "check_layout_gradients", "gradcheck"]
