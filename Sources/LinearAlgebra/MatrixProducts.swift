/// The matrix product op(A)·op(B), where op transposes or leaves as is.
///
/// op(A) is m × k and op(B) k × n; the result is m × n. Costs 2·m·n·k operations (BLAS's GEMM).
///
/// - Throws: `TensorError` where an operand is no matrix, the inner lengths differ, or a length exceeds BLAS's integer.
public func matmul<Scalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>, transposeA: Bool = false, transposeB: Bool = false
) throws(TensorError) -> Tensor<Scalar> {
  let (m, n, _) = try productLengths(a, b, transposeA, transposeB)
  var product = Tensor<Scalar>(shape: [m, n], buffer: AlignedBuffer(uninitializedCapacity: m * n))
  try matmul(a, b, transposeA: transposeA, transposeB: transposeB, into: &product)
  return product
}

/// C = alpha·op(A)·op(B) + beta·C, where op transposes or leaves as is.
///
/// op(A) is m × k, op(B) k × n and C m × n. With `beta` 0 (the default) C is overwritten whatever it holds, NaN too;
/// with `alpha` 0 the product is not looked at. Costs 2·m·n·k operations (BLAS's GEMM).
///
/// - Throws: `TensorError` where an operand is no matrix, the shapes do not go together, or a length exceeds BLAS's
///   integer.
public func matmul<Scalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>, transposeA: Bool = false, transposeB: Bool = false,
  alpha: Scalar = 1, beta: Scalar = 0, into c: inout Tensor<Scalar>
) throws(TensorError) {
  let (m, n, k) = try productLengths(a, b, transposeA, transposeB)
  guard c.shape == [m, n] else {
    throw .shapeMismatch(
      operation: "matmul(into:)", left: c.shape, right: [m, n], requirement: "give a result of the product's shape")
  }
  BLAS.prepare()
  a.withUnsafeBufferPointer { a in
    b.withUnsafeBufferPointer { b in
      c.withUnsafeMutableBufferPointer { c in
        // BLAS wants a leading dimension of at least 1, even of an empty matrix.
        Scalar.unsafeMultiply(
          transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, alpha: alpha,
          a.baseAddress!, max(transposeA ? m : k, 1), b.baseAddress!, max(transposeB ? k : n, 1),
          beta: beta, c.baseAddress!, max(n, 1))
      }
    }
  }
}

private func productLengths<Scalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>, _ transposeA: Bool, _ transposeB: Bool
) throws(TensorError) -> (m: Int, n: Int, k: Int) {
  for operand in [a, b] where operand.rank != 2 {
    throw .rankMismatch(operation: "matmul", expected: 2, shape: operand.shape)
  }
  let (m, k) = transposeA ? (a.shape[1], a.shape[0]) : (a.shape[0], a.shape[1])
  let (innerB, n) = transposeB ? (b.shape[1], b.shape[0]) : (b.shape[0], b.shape[1])
  guard k == innerB else {
    let left = "axis \(transposeA ? 0 : 1) of the left"
    let right = "axis \(transposeB ? 1 : 0) of the right"
    throw .shapeMismatch(
      operation: "matmul", left: a.shape, right: b.shape, requirement: "give \(left) the length of \(right)")
  }
  try a.checkLengthsFitBLAS("matmul")
  try b.checkLengthsFitBLAS("matmul")
  guard Tensor<Scalar>.validCount(of: [m, n]) != nil else { throw .invalidShape([m, n]) }
  return (m, n, k)
}

/// The product op(A)·x of a matrix and a vector.
///
/// op(A) is m × n, x has n elements, the result m. Costs 2·m·n operations (BLAS's GEMV).
///
/// - Throws: `TensorError` where A is no matrix, x no vector, the lengths differ, or a length exceeds BLAS's integer.
public func matvec<Scalar>(
  _ a: Tensor<Scalar>, _ x: Tensor<Scalar>, transposeA: Bool = false
) throws(TensorError) -> Tensor<Scalar> {
  guard a.rank == 2 else { throw .rankMismatch(operation: "matvec", expected: 2, shape: a.shape) }
  guard x.rank == 1 else { throw .rankMismatch(operation: "matvec", expected: 1, shape: x.shape) }
  let inner = transposeA ? 0 : 1
  guard a.shape[inner] == x.count else {
    throw .shapeMismatch(
      operation: "matvec", left: a.shape, right: x.shape,
      requirement: "give axis \(inner) of the matrix the length of the vector")
  }
  try a.checkLengthsFitBLAS("matvec")
  // GEMV does nothing where a length is 0, so zeros must be there before.
  var product = Tensor<Scalar>.zeros([a.shape[1 - inner]])
  BLAS.prepare()
  a.withUnsafeBufferPointer { matrix in
    x.withUnsafeBufferPointer { x in
      product.withUnsafeMutableBufferPointer { y in
        Scalar.unsafeMultiplyVector(
          transposeA: transposeA, m: a.shape[0], n: a.shape[1], alpha: 1, matrix.baseAddress!, max(a.shape[1], 1),
          x.baseAddress!, beta: 0, y.baseAddress!)
      }
    }
  }
  return product
}

/// The scalar product Σ xᵢ·yᵢ of two tensors of equal shape.
///
/// - Throws: `TensorError` where the shapes differ or there are more elements than BLAS's integer counts.
public func dot<Scalar>(_ x: Tensor<Scalar>, _ y: Tensor<Scalar>) throws(TensorError) -> Scalar {
  try checkEqualShapes("dot", x, y)
  BLAS.prepare()
  return x.withUnsafeBufferPointer { x in
    y.withUnsafeBufferPointer { y in Scalar.unsafeDot(x.count, x.baseAddress!, y.baseAddress!) }
  }
}

/// Adds `alpha`·x to y, a tensor of equal shape.
///
/// - Throws: `TensorError` where the shapes differ or there are more elements than BLAS's integer counts.
public func axpy<Scalar>(
  _ alpha: Scalar, _ x: Tensor<Scalar>, into y: inout Tensor<Scalar>
) throws(TensorError) {
  try checkEqualShapes("axpy", x, y)
  BLAS.prepare()
  x.withUnsafeBufferPointer { x in
    y.withUnsafeMutableBufferPointer { y in Scalar.unsafeAddScaled(x.count, alpha, x.baseAddress!, y.baseAddress!) }
  }
}

/// Multiplies every element by `alpha`, in place.
///
/// - Throws: `TensorError` where there are more elements than BLAS's integer counts.
public func scale<Scalar>(_ x: inout Tensor<Scalar>, by alpha: Scalar) throws(TensorError) {
  try x.checkCountFitsBLAS("scale")
  BLAS.prepare()
  x.withUnsafeMutableBufferPointer { Scalar.unsafeScale($0.count, alpha, $0.baseAddress!) }
}

/// The Euclidean norm √Σ xᵢ² (of a matrix: Frobenius's), without overflow on the way.
///
/// - Throws: `TensorError` where there are more elements than BLAS's integer counts.
public func norm2<Scalar>(_ x: Tensor<Scalar>) throws(TensorError) -> Scalar {
  try x.checkCountFitsBLAS("norm2")
  BLAS.prepare()
  return x.withUnsafeBufferPointer { Scalar.unsafeNorm2($0.count, $0.baseAddress!) }
}

/// The sum of magnitudes Σ |xᵢ|.
///
/// - Throws: `TensorError` where there are more elements than BLAS's integer counts.
public func absoluteSum<Scalar>(_ x: Tensor<Scalar>) throws(TensorError) -> Scalar {
  try x.checkCountFitsBLAS("absoluteSum")
  BLAS.prepare()
  return x.withUnsafeBufferPointer { Scalar.unsafeAbsoluteSum($0.count, $0.baseAddress!) }
}

/// The place, in row-major order, of the first element of largest magnitude; nil where there is none.
///
/// With a NaN among the elements, the place is unspecified.
///
/// - Throws: `TensorError` where there are more elements than BLAS's integer counts.
public func indexOfLargestMagnitude<Scalar>(_ x: Tensor<Scalar>) throws(TensorError) -> Int? {
  try x.checkCountFitsBLAS("indexOfLargestMagnitude")
  if x.count == 0 { return nil }
  BLAS.prepare()
  return x.withUnsafeBufferPointer { Scalar.unsafeIndexOfLargestMagnitude($0.count, $0.baseAddress!) }
}

private func checkEqualShapes<Scalar>(
  _ operation: String, _ x: Tensor<Scalar>, _ y: Tensor<Scalar>
) throws(TensorError) {
  guard x.shape == y.shape else {
    throw .shapeMismatch(operation: operation, left: x.shape, right: y.shape, requirement: "give equal shapes")
  }
  try x.checkCountFitsBLAS(operation)
}

extension Tensor {
  func checkLengthsFitBLAS(_ operation: String) throws(TensorError) {
    if shape.contains(where: { $0 > largestBLASInteger }) {
      throw .tooLarge(operation: operation, shape: shape, limit: largestBLASInteger)
    }
  }

  func checkCountFitsBLAS(_ operation: String) throws(TensorError) {
    if count > largestBLASInteger {
      throw .tooLarge(operation: operation, shape: shape, limit: largestBLASInteger)
    }
  }
}
