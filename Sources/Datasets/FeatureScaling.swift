import LinearAlgebra

/// An affine map of each feature, y = x · scale + offset, as a scaler fits it.
///
/// `scale` and `offset` have one value for each feature, or a single one for all.
public struct FeatureScaling: Sendable, Equatable {
  /// Whether a scaler takes all features together or each for itself.
  public enum Scope: Sendable {
    /// One scale and offset for all features.
    case global
    /// A scale and an offset for each feature (column).
    case perFeature
  }

  /// The factor of each feature, or of all.
  public let scale: [Double]

  /// What is added to each feature after scaling, or to all.
  public let offset: [Double]

  /// The same map for pixels, to be applied while a batch is gathered.
  public var pixelScaling: PixelScaling {
    scale.count == 1 ? .uniform(scale: scale[0], offset: offset[0]) : .perFeature(scale: scale, offset: offset)
  }

  /// The map applied to every row of `data`, of shape [rows, …]; computed in Double and rounded once.
  ///
  /// Throws `DatasetError.invalid` where a row has another number of features than the scaler was fitted to.
  public func apply<Scalar>(to data: Tensor<Scalar>) throws(DatasetError) -> Tensor<Scalar> {
    try map(data) { x, feature in x * scale[feature] + offset[feature] }
  }

  /// The map undone on every row of `data`; throws as `apply(to:)` does.
  ///
  /// What a constant feature was is given back, since its scale is never 0.
  public func invert<Scalar>(_ data: Tensor<Scalar>) throws(DatasetError) -> Tensor<Scalar> {
    try map(data) { y, feature in (y - offset[feature]) / scale[feature] }
  }

  private func map<Scalar>(
    _ data: Tensor<Scalar>, _ transform: (Double, Int) -> Double
  ) throws(DatasetError) -> Tensor<Scalar> {
    let features = data.featureCount
    guard scale.count == 1 || scale.count == features || data.count == 0 else {
      throw .invalid(
        problem: "rows of \(features) features for a scaler of \(scale.count)",
        advice: "apply it to data of the shape it was fitted to")
    }
    return data.withUnsafeBufferPointer { source in
      Tensor(shape: data.shape) { index in
        Scalar(transform(Double(source[index]), scale.count == 1 ? 0 : index % features))
      }
    }
  }
}

extension Tensor {
  /// The number of scalars in a row, the product of all axes but the first.
  var featureCount: Int { shape.dropFirst().reduce(1, *) }
}
