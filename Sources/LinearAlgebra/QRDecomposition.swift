/// The thin QR decomposition A = Q·R of a matrix by Householder reflections.
///
/// A is m × n and k = min(m, n): Q is m × k with orthonormal columns, R k × n and zero below its diagonal. The signs of
/// R's diagonal are whatever the reflections give. Costs about 4·m·n·k operations.
public struct QRDecomposition<Scalar: LAPACKScalar>: Sendable {
  /// The m × k factor with orthonormal columns.
  public let q: Tensor<Scalar>
  /// The k × n factor that is zero below its diagonal.
  public let r: Tensor<Scalar>

  /// Decomposes `a`.
  ///
  /// - Throws: `LAPACKError` where `a` is no matrix, is empty, or holds NaN or infinity.
  public init(_ a: Tensor<Scalar>) throws(LAPACKError) {
    try a.checkIsMatrix("QRDecomposition", argument: "the matrix")
    let (m, n) = (a.shape[0], a.shape[1])
    let k = min(m, n)
    var factored = a
    var factors = Tensor<Scalar>.zeros([k])
    BLAS.prepare()
    let info = factored.withUnsafeMutableBufferPointer { a in
      factors.withUnsafeMutableBufferPointer { Scalar.unsafeQRFactor(m: m, n: n, a.baseAddress!, n, $0.baseAddress!) }
    }
    try LAPACKError.check(info, "geqrf") { .illegalArgument(routine: "geqrf", index: $0) }

    r = Tensor(shape: [k, n]) { $0 % n < $0 / n ? 0 : factored[$0 / n, $0 % n] }
    var vectors = Tensor(shape: [m, k]) { factored[$0 / k, $0 % k] }
    let formed = vectors.withUnsafeMutableBufferPointer { q in
      factors.withUnsafeBufferPointer {
        Scalar.unsafeFormQ(m: m, n: k, k: k, q.baseAddress!, k, $0.baseAddress!)
      }
    }
    try LAPACKError.check(formed, "orgqr") { .illegalArgument(routine: "orgqr", index: $0) }
    q = vectors
  }
}
