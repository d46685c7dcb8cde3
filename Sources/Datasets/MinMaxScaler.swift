import LinearAlgebra

/// Scales features so that the training data fills a range: y = low + (x − min) · (high − low) / (max − min).
///
/// Fit it on training data alone and apply `scaling` to training and test data. A constant feature (max = min) is only
/// shifted, to `low`: its scale is 1.
public struct MinMaxScaler: Sendable, Equatable {
  /// The least value of each feature, or of all.
  public let minimum: [Double]

  /// The greatest value of each feature, or of all.
  public let maximum: [Double]

  /// The affine map, for training and test data alike.
  public let scaling: FeatureScaling

  /// Fits the pixels of images, exactly; `range` is 0 … 1 unless given.
  ///
  /// Throws `DatasetError.invalid` where there are no images or the range is empty or not finite.
  public init(
    fitting data: ImageDataset, scope: FeatureScaling.Scope = .global, range: ClosedRange<Double> = 0...1
  ) throws(DatasetError) {
    try self.init(ColumnStatistics(data), scope: scope, range: range)
  }

  /// Fits the rows of a tensor of shape [rows, …]; `range` is 0 … 1 unless given.
  ///
  /// Throws `DatasetError.invalid` where there are no values, one is not finite, or the range is empty or not finite.
  public init<Scalar>(
    fitting data: Tensor<Scalar>, scope: FeatureScaling.Scope = .perFeature, range: ClosedRange<Double> = 0...1
  ) throws(DatasetError) {
    try self.init(ColumnStatistics(data, scope: scope), scope: scope, range: range)
  }

  private init(
    _ statistics: ColumnStatistics, scope: FeatureScaling.Scope, range: ClosedRange<Double>
  ) throws(DatasetError) {
    let extent = range.upperBound - range.lowerBound
    guard extent > 0, extent.isFinite else {
      throw .invalid(problem: "the range \(range)", advice: "give a finite range whose ends differ")
    }
    switch scope {
    case .global:
      minimum = [statistics.minimum.min()!]
      maximum = [statistics.maximum.max()!]
    case .perFeature:
      minimum = statistics.minimum
      maximum = statistics.maximum
    }
    // A spread so small that its inverse overflows counts as none.
    let scale = zip(minimum, maximum).map { low, high in
      let scale = extent / (high - low)
      return scale.isFinite ? scale : 1
    }
    scaling = FeatureScaling(scale: scale, offset: zip(minimum, scale).map { range.lowerBound - $0 * $1 })
  }
}
