import LinearAlgebra

/// Least and greatest value, mean and variance of each feature of a data set.
struct ColumnStatistics {
  /// Mean and population variance.
  struct Moments {
    var mean: Double
    var variance: Double
  }

  private(set) var minimum: [Double]
  private(set) var maximum: [Double]
  private(set) var moments: [Moments]

  /// Mean and variance of all features together.
  private(set) var globalMoments: Moments

  // MARK: Bytes

  /// The statistics of every pixel position: from exact integer sums.
  init(_ data: ImageDataset) throws(DatasetError) {
    guard data.count > 0 else {
      throw .invalid(problem: "a scaler fitted to no images", advice: "give training data")
    }
    let columns = data.featureCount
    var low = [UInt8](repeating: .max, count: columns)
    var high = [UInt8](repeating: 0, count: columns)
    var sums = [UInt64](repeating: 0, count: columns)
    var squares = [UInt64](repeating: 0, count: columns)
    // 66,051 squares of a byte fit 32 bits; sums that narrow fill twice as many vector lanes as 64-bit ones.
    let block = 65_536
    for start in stride(from: 0, to: data.count, by: block) {
      var blockSums = [UInt32](repeating: 0, count: columns)
      var blockSquares = [UInt32](repeating: 0, count: columns)
      data.withUnsafePixels { pixels in
        for row in start..<min(start + block, data.count) {
          let row = UnsafeBufferPointer(rebasing: pixels[row * columns..<(row + 1) * columns])
          ColumnStatistics.accumulate(row, &low, &high, &blockSums, &blockSquares)
        }
      }
      for column in 0..<columns {
        sums[column] += UInt64(blockSums[column])
        squares[column] += UInt64(blockSquares[column])
      }
    }
    minimum = low.map { Double($0) }
    maximum = high.map { Double($0) }
    moments = zip(sums, squares).map { ColumnStatistics.moments(count: data.count, sum: $0, sumOfSquares: $1) }
    globalMoments = ColumnStatistics.moments(
      count: data.count * columns, sum: sums.reduce(0, +), sumOfSquares: squares.reduce(0, +))
  }

  private static func accumulate(
    _ row: UnsafeBufferPointer<UInt8>, _ low: inout [UInt8], _ high: inout [UInt8], _ sums: inout [UInt32],
    _ squares: inout [UInt32]
  ) {
    low.withUnsafeMutableBufferPointer { low in
      high.withUnsafeMutableBufferPointer { high in
        sums.withUnsafeMutableBufferPointer { sums in
          squares.withUnsafeMutableBufferPointer { squares in
            for column in 0..<row.count {
              let value = row[column]
              low[column] = min(low[column], value)
              high[column] = max(high[column], value)
              sums[column] &+= UInt32(value)
              squares[column] &+= UInt32(value) &* UInt32(value)
            }
          }
        }
      }
    }
  }

  /// n·Σx² − (Σx)² is exact in 128 bits, so that the variance is rounded only in the division.
  private static func moments(count: Int, sum: UInt64, sumOfSquares: UInt64) -> Moments {
    let n = UInt128(count)
    let numerator = n * UInt128(sumOfSquares) - UInt128(sum) * UInt128(sum)
    return Moments(mean: Double(sum) / Double(count), variance: Double(numerator) / (Double(n) * Double(n)))
  }

  // MARK: Scalars

  /// The statistics of every column of a tensor of shape [rows, …], or of all of it as one column.
  ///
  /// Two passes in Double: the mean, then the squared deviations from it less the square of their mean, which takes back
  /// the rounding of the mean itself.
  init<Scalar>(_ data: Tensor<Scalar>, scope: FeatureScaling.Scope) throws(DatasetError) {
    guard data.count > 0 else {
      throw .invalid(problem: "a scaler fitted to no values", advice: "give training data")
    }
    let features = data.featureCount
    let bad = data.withUnsafeBufferPointer { values in values.firstIndex { !$0.isFinite } }
    if let bad {
      throw .invalid(
        problem: "the value in row \(bad / features), feature \(bad % features) is not finite",
        advice: "remove or replace such values before fitting a scaler")
    }
    let columns = scope == .global ? 1 : features
    let count = Double(data.count / columns)
    var low = [Double](repeating: .infinity, count: columns)
    var high = [Double](repeating: -.infinity, count: columns)
    var mean = [Double](repeating: 0, count: columns)
    var deviation = [Double](repeating: 0, count: columns)
    var square = [Double](repeating: 0, count: columns)
    data.withUnsafeBufferPointer { values in
      for start in stride(from: 0, to: values.count, by: columns) {
        for column in 0..<columns {
          let value = Double(values[start + column])
          low[column] = min(low[column], value)
          high[column] = max(high[column], value)
          mean[column] += value / count
        }
      }
      for start in stride(from: 0, to: values.count, by: columns) {
        for column in 0..<columns {
          let difference = Double(values[start + column]) - mean[column]
          deviation[column] += difference
          square[column] += difference * difference
        }
      }
    }
    minimum = low
    maximum = high
    moments = (0..<columns).map { column in
      let correction = deviation[column] / count
      // Rounding of the mean must not give a constant column a spread.
      let variance = low[column] == high[column] ? 0 : max(0, square[column] / count - correction * correction)
      return Moments(mean: low[column] == high[column] ? low[column] : mean[column] + correction, variance: variance)
    }
    globalMoments = moments[0]
    let overflow = (0..<columns).first { !(high[$0] - low[$0]).isFinite || !moments[$0].variance.isFinite }
    if let overflow {
      throw .invalid(
        problem: "the values of feature \(overflow) spread too far for a Double", advice: "rescale them first")
    }
  }
}
