/// Elementwise arithmetic and reductions.
extension Tensor {
  /// The tensor of `transform(scalar)` for every scalar.
  @inlinable
  public func map<Other: BLASScalar, Failure: Error>(
    _ transform: (Scalar) throws(Failure) -> Other
  ) throws(Failure) -> Tensor<Other> {
    let buffer = AlignedBuffer<Other>(uninitializedCapacity: count)
    for index in 0..<count { buffer.baseAddress[index] = try transform(self.buffer.baseAddress[index]) }
    return Tensor<Other>(shape: shape, buffer: buffer)
  }

  @inlinable
  static func combine(
    _ operation: String, _ left: Tensor, _ right: Tensor, _ combine: (Scalar, Scalar) -> Scalar
  ) throws(TensorError) -> Tensor {
    guard left.shape == right.shape else {
      throw .shapeMismatch(
        operation: operation, left: left.shape, right: right.shape, requirement: "give equal shapes")
    }
    return left.withUnsafeBufferPointer { a in
      right.withUnsafeBufferPointer { b in Tensor(shape: left.shape) { combine(a[$0], b[$0]) } }
    }
  }

  // MARK: Elementwise

  /// The sums of the elements at equal places.
  ///
  /// - Throws: `TensorError.shapeMismatch` where the shapes differ.
  @inlinable
  public static func + (left: Tensor, right: Tensor) throws(TensorError) -> Tensor {
    try combine("+", left, right) { $0 + $1 }
  }

  /// The differences of the elements at equal places.
  ///
  /// - Throws: `TensorError.shapeMismatch` where the shapes differ.
  @inlinable
  public static func - (left: Tensor, right: Tensor) throws(TensorError) -> Tensor {
    try combine("-", left, right) { $0 - $1 }
  }

  /// The products of the elements at equal places (Hadamard); `matmul` is the matrix product.
  ///
  /// - Throws: `TensorError.shapeMismatch` where the shapes differ.
  @inlinable
  public static func * (left: Tensor, right: Tensor) throws(TensorError) -> Tensor {
    try combine("*", left, right) { $0 * $1 }
  }

  /// Every element plus a number.
  @inlinable public static func + (left: Tensor, right: Scalar) -> Tensor { left.map { $0 + right } }
  /// A number plus every element.
  @inlinable public static func + (left: Scalar, right: Tensor) -> Tensor { right.map { left + $0 } }
  /// Every element minus a number.
  @inlinable public static func - (left: Tensor, right: Scalar) -> Tensor { left.map { $0 - right } }
  /// A number minus every element.
  @inlinable public static func - (left: Scalar, right: Tensor) -> Tensor { right.map { left - $0 } }
  /// Every element times a number.
  @inlinable public static func * (left: Tensor, right: Scalar) -> Tensor { left.map { $0 * right } }
  /// A number times every element.
  @inlinable public static func * (left: Scalar, right: Tensor) -> Tensor { right.map { left * $0 } }
  /// Every element over a number.
  @inlinable public static func / (left: Tensor, right: Scalar) -> Tensor { left.map { $0 / right } }
  /// Every element negated.
  @inlinable public static prefix func - (tensor: Tensor) -> Tensor { tensor.map { -$0 } }

  // MARK: Reductions

  /// The number of slices before an axis, its length, and the number of scalars from one of its elements to the next.
  @usableFromInline
  func extents(_ operation: String, axis: Int) throws(TensorError) -> (axis: Int, outer: Int, length: Int, inner: Int) {
    guard axis >= -rank, axis < rank else { throw .axisOutOfRange(operation: operation, axis: axis, shape: shape) }
    let axis = axis < 0 ? axis + rank : axis
    let outer = shape[..<axis].reduce(1, *)
    let inner = shape[(axis + 1)...].reduce(1, *)
    return (axis, outer, shape[axis], inner)
  }

  @inlinable
  func reduce(_ operation: String, axis: Int, divisor: Double) throws(TensorError) -> Tensor {
    let (axis, outer, length, inner) = try extents(operation, axis: axis)
    var reduced = shape
    reduced.remove(at: axis)
    if reduced.isEmpty { reduced = [1] }
    return withUnsafeBufferPointer { source in
      Tensor(shape: reduced) { target in
        var sums = [Double](repeating: 0, count: inner)
        for slice in 0..<outer {
          for index in 0..<inner { sums[index] = 0 }
          for element in 0..<length {
            let start = (slice * length + element) * inner
            for index in 0..<inner { sums[index] += Double(source[start + index]) }
          }
          for index in 0..<inner {
            target.initializeElement(at: slice * inner + index, to: Scalar(sums[index] / divisor))
          }
        }
      }
    }
  }

  /// The sum of all elements, added up in Double in row-major order and rounded once; 0 where there is none.
  @inlinable
  public func sum() -> Scalar {
    var sum = 0.0
    for index in 0..<count { sum += Double(buffer.baseAddress[index]) }
    return Scalar(sum)
  }

  /// The mean of all elements, added up in Double and rounded once; NaN where there is none.
  @inlinable
  public func mean() -> Scalar {
    var sum = 0.0
    for index in 0..<count { sum += Double(buffer.baseAddress[index]) }
    return Scalar(sum / Double(count))
  }

  /// The sums along an axis, which disappears from the shape; added up in Double and rounded once.
  ///
  /// A tensor of rank 1 gives shape [1]. A negative axis counts from the last: −1.
  ///
  /// - Throws: `TensorError.axisOutOfRange` where there is no such axis.
  @inlinable
  public func sum(axis: Int) throws(TensorError) -> Tensor {
    try reduce("sum(axis:)", axis: axis, divisor: 1)
  }

  /// The means along an axis, which disappears from the shape; added up in Double and rounded once.
  ///
  /// A tensor of rank 1 gives shape [1]. A negative axis counts from the last: −1.
  ///
  /// - Throws: `TensorError.axisOutOfRange` where there is no such axis, `.emptyAxis` where its length is 0.
  @inlinable
  public func mean(axis: Int) throws(TensorError) -> Tensor {
    let length = try extents("mean(axis:)", axis: axis).length
    if length == 0 { throw .emptyAxis(operation: "mean(axis:)", axis: axis, shape: shape) }
    return try reduce("mean(axis:)", axis: axis, divisor: Double(length))
  }

  /// The place of the largest element of each slice along the last axis (each row of a matrix), in row-major order.
  ///
  /// Of equal elements the first counts. NaN counts as larger than every number, so that it is seen.
  ///
  /// - Throws: `TensorError.emptyAxis` where the last axis has length 0.
  @inlinable
  public func argmaxAlongLastAxis() throws(TensorError) -> [Int] {
    let (_, outer, length, _) = try extents("argmaxAlongLastAxis()", axis: -1)
    if length == 0 { throw .emptyAxis(operation: "argmaxAlongLastAxis()", axis: rank - 1, shape: shape) }
    return withUnsafeBufferPointer { source in
      (0..<outer).map { slice in
        var best = 0
        for candidate in 1..<Swift.max(length, 1) {
          let (value, largest) = (source[slice * length + candidate], source[slice * length + best])
          if value > largest || (value.isNaN && !largest.isNaN) { best = candidate }
        }
        return best
      }
    }
  }
}
