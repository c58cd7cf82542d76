"""Numeric gradients against analytic ones, and the analytic ones against one another, in float64.

The loss is sum(dy * y). A convolution is linear in x, in w and in its bias, so the central
difference (L(v + eps) - L(v - eps)) / (2 eps) has no truncation error at any step, and a large step
is best: what is left is round-off, which shrinks as the step grows. The default step is 1. A sweep
over steps shows it: the error is a slope of -1 on logarithmic axes, where a curved loss (sum(y^3) /
3 stands for one) has the usual V.

Three tests, of each of dx, dw and db:

- central differences, entry by entry. Relative error is |a - n| / max(|a|, |n|), and 0/0 passes.
  Differences below a
  floor of 1e-12 of the tensor's largest gradient are round-off of the sum, not of the entry, and are measured against
  that floor. Thresholds (Karpathy et al., CS231n notes, "Gradient checks", for float64): at most 1e-7 is good, above
  1e-4 is suspect, above 1e-2 is wrong; a check passes up to 1e-4.
- the adjoint test, <A v, dy> = <v, A' dy> for a random v, which every entry takes part in, the
  unchecked ones too.
  Both sides may differ by 1e-10 of |A v| |dy|. Source: Claerbout, "Earth Soundings Analysis", 1992, the dot-product
  test.
- two analytic paths: the engine's, and the transposes of the explicit matrices of `toeplitz`, which
  share no code with
  it. They may differ by 1e-10 of the largest gradient. Only where the matrices are small.
"""

from convcli.grad.check import check_layout_gradients, gradcheck
from convcli.grad.records import GradcheckReport

__all__ = ["GradcheckReport", "check_layout_gradients", "gradcheck"]
