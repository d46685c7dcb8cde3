/// The map y = (x − m)·W + b of rows x of d features to rows y of k.
///
/// The means m are subtracted in Double before the product, so data far from 0 lose nothing by it.
public struct CentredLinearMap<Scalar: BLASScalar>: Sendable, Equatable {
  /// The d means m.
  public let means: Tensor<Double>
  /// The d × k matrix W.
  public let matrix: Tensor<Scalar>
  /// The k offsets b.
  public let offset: Tensor<Scalar>

  /// A map of the given parts, rounded to the scalar.
  ///
  /// - Parameters:
  ///   - means: m, d elements.
  ///   - matrix: W, d × k.
  ///   - offset: b, k elements; default zeros.
  /// - Throws: `TensorError` where the shapes do not go together or exceed BLAS's integer.
  public init(
    means: Tensor<Double>, matrix: Tensor<Double>, offset: Tensor<Double>? = nil
  ) throws(TensorError) {
    guard matrix.rank == 2 else {
      throw .rankMismatch(operation: "CentredLinearMap", expected: 2, shape: matrix.shape)
    }
    guard means.shape == [matrix.shape[0]] else {
      throw .shapeMismatch(
        operation: "CentredLinearMap", left: means.shape, right: matrix.shape,
        requirement: "give one mean for each row of the matrix")
    }
    let offset = offset ?? .zeros([matrix.shape[1]])
    guard offset.shape == [matrix.shape[1]] else {
      throw .shapeMismatch(
        operation: "CentredLinearMap", left: offset.shape, right: matrix.shape,
        requirement: "give one offset for each column of the matrix")
    }
    try matrix.checkLengthsFitBLAS("CentredLinearMap")
    self.means = means
    self.matrix = Tensor<Scalar>(matrix)
    self.offset = Tensor<Scalar>(offset)
  }

  /// The images of the n rows of `data`: an n × k matrix.
  ///
  /// Blocks of 256 rows are widened, centred and rounded on the way. Costs 2·n·d·k operations.
  ///
  /// - Throws: `TensorError` where `data` is no matrix of d columns.
  public func callAsFunction(_ data: Tensor<Scalar>) throws(TensorError) -> Tensor<Scalar> {
    guard data.rank == 2 else { throw .rankMismatch(operation: "CentredLinearMap", expected: 2, shape: data.shape) }
    let (features, outputs) = (matrix.shape[0], matrix.shape[1])
    guard data.shape[1] == features else {
      throw .shapeMismatch(
        operation: "CentredLinearMap", left: data.shape, right: matrix.shape,
        requirement: "give data of \(features) columns")
    }
    guard Tensor<Scalar>.validCount(of: [data.shape[0], outputs]) != nil else {
      throw .invalidShape([data.shape[0], outputs])
    }
    var result = Tensor<Scalar>.zeros([data.shape[0], outputs])
    if result.count == 0 { return result }
    let rounded = AlignedBuffer<Scalar>(uninitializedCapacity: min(256, data.shape[0]) * features)
    BLAS.prepare()
    result.withUnsafeMutableBufferPointer { result in
      matrix.withUnsafeBufferPointer { matrix in
        offset.withUnsafeBufferPointer { offset in
          data.forEachBlockOfRows(centredOn: means) { first, count, block in
            Scalar.unsafeRound(count * features, block, rounded.baseAddress)
            let target = result.baseAddress! + first * outputs
            for row in 0..<count { (target + row * outputs).update(from: offset.baseAddress!, count: outputs) }
            Scalar.unsafeMultiply(
              transposeA: false, transposeB: false, m: count, n: outputs, k: features, alpha: 1,
              rounded.baseAddress, max(features, 1), matrix.baseAddress!, outputs, beta: 1, target, outputs)
          }
        }
      }
    }
    return result
  }
}
