import Foundation
import LinearAlgebra
import RandomNumbers

/// How a parameter gets its first values.
///
/// fanIn and fanOut of a kernel of shape (in, out) are in and out. "Normal" means truncated at two standard deviations,
/// with the deviation corrected so that the truncated values have the stated variance (Keras's rule).
public enum Initializer: Sendable, Equatable, Codable {
  /// All 0.
  case zeros
  /// All 1.
  case ones
  /// All the given value.
  case constant(Double)
  /// Uniform in the given bounds.
  case uniform(low: Double, high: Double)
  /// Normal, not truncated.
  case normal(mean: Double = 0, standardDeviation: Double = 0.05)
  /// Normal, truncated at two standard deviations of the parent distribution.
  case truncatedNormal(mean: Double = 0, standardDeviation: Double = 0.05)
  /// Uniform with limit √(6/(fanIn + fanOut)) (Glorot and Bengio 2010), also known as Xavier.
  case glorotUniform
  /// Truncated normal with variance 2/(fanIn + fanOut) (Glorot and Bengio 2010), also known as Xavier.
  case glorotNormal
  /// Uniform with limit √(6/fanIn) (He et al. 2015).
  case heUniform
  /// Truncated normal with variance 2/fanIn (He et al. 2015).
  case heNormal
  /// Uniform with limit √(3/fanIn) (LeCun et al. 1998).
  case lecunUniform
  /// Truncated normal with variance 1/fanIn (LeCun et al. 1998).
  case lecunNormal
  /// Orthonormal rows or columns times `gain` (Saxe et al. 2014), by QR.
  case orthogonal(gain: Double = 1)

  /// The deviation of a standard normal truncated at ±2.
  static let truncatedDeviation = 0.87962566103423978

  /// The half-width of the uniform distribution, or nil where the initializer is not a uniform one.
  ///
  /// - Parameters:
  ///   - fanIn: inputs of a unit.
  ///   - fanOut: units.
  public func uniformLimit(fanIn: Int, fanOut: Int) -> Double? {
    switch self {
    case .glorotUniform: (6 / Double(fanIn + fanOut)).squareRoot()
    case .heUniform: (6 / Double(fanIn)).squareRoot()
    case .lecunUniform: (3 / Double(fanIn)).squareRoot()
    default: nil
    }
  }

  /// The standard deviation of the values of a normal initializer that depends on the fans, or nil.
  public func normalDeviation(fanIn: Int, fanOut: Int) -> Double? {
    switch self {
    case .glorotNormal: (2 / Double(fanIn + fanOut)).squareRoot()
    case .heNormal: (2 / Double(fanIn)).squareRoot()
    case .lecunNormal: (1 / Double(fanIn)).squareRoot()
    default: nil
    }
  }

  /// The values of a parameter of `shape`, row-major, drawn from `generator`.
  ///
  /// Drawn in Double whatever the network's precision, so that Float and Double networks of one seed start alike.
  /// - Throws: `LAPACKError` where the QR of `orthogonal` fails.
  func values(shape: [Int], generator: inout Philox) throws -> [Double] {
    let count = shape.reduce(1, *)
    let fanIn = shape.count > 1 ? shape.dropLast().reduce(1, *) : max(count, 1)
    let fanOut = shape.last ?? 1
    if let limit = uniformLimit(fanIn: fanIn, fanOut: fanOut) {
      return Initializer.uniform(low: -limit, high: limit).draw(count, &generator)
    }
    if let deviation = normalDeviation(fanIn: fanIn, fanOut: fanOut) {
      let parent = deviation / Initializer.truncatedDeviation
      return Initializer.truncatedNormal(standardDeviation: parent).draw(count, &generator)
    }
    if case .orthogonal(let gain) = self {
      let matrix: Tensor<Double> = try orthogonalMatrix(rows: fanIn, columns: fanOut) { generator.nextNormal() }
      return matrix.scalars.map { $0 * gain }
    }
    return draw(count, &generator)
  }

  private func draw(_ count: Int, _ generator: inout Philox) -> [Double] {
    switch self {
    case .ones: [Double](repeating: 1, count: count)
    case .constant(let value): [Double](repeating: value, count: count)
    case .uniform(let low, let high): (0..<count).map { _ in low + (high - low) * generator.nextUniform() }
    case .normal(let mean, let deviation): (0..<count).map { _ in mean + deviation * generator.nextNormal() }
    case .truncatedNormal(let mean, let deviation):
      (0..<count).map { _ in mean + deviation * generator.nextTruncatedNormal() }
    default: [Double](repeating: 0, count: count)
    }
  }
}
