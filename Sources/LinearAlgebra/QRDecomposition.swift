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

    var upper = Tensor<Scalar>.zeros([k, n])
    for row in 0..<k { factored.copyRow(row, from: row, count: n - row, into: &upper) }
    r = upper
    var vectors = Tensor<Scalar>.zeros([m, k])
    for row in 0..<m { factored.copyRow(row, from: 0, count: k, into: &vectors) }
    let formed = vectors.withUnsafeMutableBufferPointer { q in
      factors.withUnsafeBufferPointer {
        Scalar.unsafeFormQ(m: m, n: k, k: k, q.baseAddress!, k, $0.baseAddress!)
      }
    }
    try LAPACKError.check(formed, "orgqr") { .illegalArgument(routine: "orgqr", index: $0) }
    q = vectors
  }
}
