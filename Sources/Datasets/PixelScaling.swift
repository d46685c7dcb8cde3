/// The affine map from a pixel's byte to the number a network sees: y = x · scale + offset.
///
/// It is applied while a batch is gathered, so scaled pixels are never stored for the whole data set.
public enum PixelScaling: Sendable, Equatable {
  /// One scale and one offset for all pixels.
  case uniform(scale: Double, offset: Double)

  /// A scale and an offset for each pixel position (column of the data).
  case perFeature(scale: [Double], offset: [Double])

  /// From 0 … 255 to 0 … 1: the default.
  public static let unit = PixelScaling.uniform(scale: 1 / 255, offset: 0)

  /// The scaled value of byte `x` at position `feature`.
  public func callAsFunction(_ x: UInt8, feature: Int) -> Double {
    switch self {
    case .uniform(let scale, let offset): Double(x) * scale + offset
    case .perFeature(let scale, let offset): Double(x) * scale[feature] + offset[feature]
    }
  }
}
