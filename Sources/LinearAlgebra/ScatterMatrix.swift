/// The column means x̄ of a data matrix and its scatter matrix Σ (x − x̄)(x − x̄)ᵀ over the rows x, in Double.
///
/// The scatter divided by the number of rows, or by one less, is the covariance. The data are widened and centred block
/// by block, so no more than 256 rows are held beyond the result. Costs n·d² operations for n rows of d features.
public struct ScatterMatrix: Sendable {
  /// The number n of rows.
  public let rows: Int
  /// The d column means.
  public let means: Tensor<Double>
  /// The symmetric d × d sum of the products of centred columns.
  public let scatter: Tensor<Double>

  /// Accumulates the moments of the rows of `data`.
  ///
  /// - Parameters:
  ///   - data: n rows of d features.
  ///   - visit: called for each row, in order, with its number and its d centred features.
  /// - Throws: `LAPACKError` where `data` is no matrix, is empty, holds NaN or infinity, or has too many features.
  public init<Scalar>(
    _ data: Tensor<Scalar>, visit: (_ row: Int, _ centred: UnsafePointer<Double>) -> Void = { _, _ in }
  ) throws(LAPACKError) {
    try data.checkIsDataMatrix("ScatterMatrix")
    let (rows, features) = (data.shape[0], data.shape[1])
    guard features.multipliedReportingOverflow(by: features).partialValue <= largestBLASInteger,
      features <= largestBLASInteger
    else { throw .shape(.tooLarge(operation: "ScatterMatrix", shape: data.shape, limit: largestBLASInteger)) }
    BLAS.prepare()

    var means = Tensor<Double>.zeros([features])
    means.withUnsafeMutableBufferPointer { means in
      data.forEachBlockOfRows { _, count, block in
        for row in 0..<count { Double.unsafeAddScaled(features, 1, block + row * features, means.baseAddress!) }
      }
      for index in means.indices { means[index] /= Double(rows) }
    }

    var scatter = Tensor<Double>.zeros([features, features])
    scatter.withUnsafeMutableBufferPointer { scatter in
      data.forEachBlockOfRows(centredOn: means) { first, count, block in
        for row in 0..<count { visit(first + row, block + row * features) }
        Double.unsafeAccumulateGram(
          n: features, k: count, alpha: 1, block, features, beta: 1, scatter.baseAddress!, features)
      }
      // Only the lower triangle was accumulated.
      for row in 0..<features {
        for column in 0..<row { scatter[column * features + row] = scatter[row * features + column] }
      }
    }
    (self.rows, self.means, self.scatter) = (rows, means, scatter)
  }
}

extension Tensor {
  /// Throws unless this is a matrix with elements, all finite; of any number of rows.
  func checkIsDataMatrix(_ operation: String) throws(LAPACKError) {
    guard rank == 2 else { throw .shape(.rankMismatch(operation: operation, expected: 2, shape: shape)) }
    if count == 0 { throw .empty(operation: operation, shape: shape) }
    if let place = indexOfFirstNonFinite() {
      throw .notFinite(operation: operation, argument: "the data", row: place / shape[1], column: place % shape[1])
    }
  }

  /// Calls `body` with the rows of this matrix in blocks of Doubles: the first row's number, how many, and the block.
  ///
  /// The means, one for each column, are subtracted from every row.
  func forEachBlockOfRows(
    centredOn means: Tensor<Double>? = nil, _ body: (Int, Int, UnsafeMutablePointer<Double>) -> Void
  ) {
    let (rows, columns) = (shape[0], shape[1])
    let blockRows = Swift.max(Swift.min(256, rows), 1)
    let block = AlignedBuffer<Double>(uninitializedCapacity: blockRows * columns)
    withExtendedLifetime(block) {
      for first in stride(from: 0, to: rows, by: blockRows) {
        let count = Swift.min(blockRows, rows - first)
        withUnsafeBufferPointer {
          Scalar.unsafeWiden(count * columns, $0.baseAddress! + first * columns, block.baseAddress)
        }
        means?.withUnsafeBufferPointer {
          for row in 0..<count {
            Double.unsafeAddScaled(columns, -1, $0.baseAddress!, block.baseAddress + row * columns)
          }
        }
        body(first, count, block.baseAddress)
      }
    }
  }
}
