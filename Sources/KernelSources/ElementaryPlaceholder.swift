internal import CKernelShims

@inline(__always)
func vectorExponential(_ x: Vector) -> Vector { lam_placeholder_exp(x) }

@inline(__always)
func vectorLogarithm(_ x: Vector) -> Vector { lam_placeholder_log(x) }
