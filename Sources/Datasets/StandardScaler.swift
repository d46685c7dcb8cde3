import LinearAlgebra

/// Scales features to mean 0 and standard deviation 1 over the training data: y = (x − mean) / deviation.
///
/// The deviation is the population's, √(Σ(x − mean)² / n). Fit it on training data alone and apply `scaling` to training
/// and test data. A constant feature is only shifted, to 0: its scale is 1.
public struct StandardScaler: Sendable, Equatable {
  /// The mean of each feature, or of all.
  public let mean: [Double]

  /// The population standard deviation of each feature, or of all; 0 for a constant feature.
  public let standardDeviation: [Double]

  /// The affine map, for training and test data alike.
  public let scaling: FeatureScaling

  /// Fits the pixels of images; sums are of integers and exact.
  ///
  /// Throws `DatasetError.invalid` where there are no images.
  public init(fitting data: ImageDataset, scope: FeatureScaling.Scope = .global) throws(DatasetError) {
    try self.init(ColumnStatistics(data), scope: scope)
  }

  /// Fits the rows of a tensor of shape [rows, …] in Double, by two passes.
  ///
  /// Throws `DatasetError.invalid` where there are no values or one is not finite.
  public init<Scalar>(
    fitting data: Tensor<Scalar>, scope: FeatureScaling.Scope = .perFeature
  ) throws(DatasetError) {
    try self.init(ColumnStatistics(data, scope: scope), scope: scope)
  }

  private init(_ statistics: ColumnStatistics, scope: FeatureScaling.Scope) throws(DatasetError) {
    let moments = scope == .global ? [statistics.globalMoments] : statistics.moments
    mean = moments.map(\.mean)
    standardDeviation = moments.map { $0.variance.squareRoot() }
    let scale = standardDeviation.map { (1 / $0).isFinite ? 1 / $0 : 1 }
    scaling = FeatureScaling(scale: scale, offset: zip(mean, scale).map { -$0 * $1 })
  }
}
