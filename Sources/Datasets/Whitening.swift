import LinearAlgebra

/// What can be wrong with the arguments of a whitening.
public enum WhiteningError: Error, Equatable, CustomStringConvertible {
  /// A variance needs at least two rows.
  case tooFewRows(Int)
  /// Epsilon is negative, NaN or infinite.
  case invalidEpsilon(Double)
  /// The number of components is not between 1 and the number of features.
  case componentsOutOfRange(Int, features: Int)
  /// The data are no matrix, are empty, are not finite, or have another number of features than those of the fit.
  case data(LAPACKError)

  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .tooFewRows(let rows):
      return "whitening cannot be fitted on \(rows) rows; give at least 2"
    case .invalidEpsilon(let epsilon):
      return "epsilon \(epsilon) cannot be added to a variance; give a number that is not negative"
    case .componentsOutOfRange(let components, let features):
      return "\(components) components of \(features) features cannot be kept; give 1 to \(features)"
    case .data(let error):
      return "whitening: \(error)"
    }
  }
}

/// The form of whitened data.
public enum WhiteningKind: String, Sendable, CaseIterable {
  /// Coordinates along the principal axes.
  case pca
  /// Rotated back to the original axes, so that an image still looks like one.
  case zca
}

/// A linear map, fitted on training data, that makes the features uncorrelated and of variance 1.
///
/// With the covariance C = U·diag(λ)·Uᵀ of the training data (divisor n − 1), a row x becomes
/// (x − mean)·U·diag(1/√(λ + epsilon)), in order of falling variance (PCA), or that times Uᵀ (ZCA), which of all
/// whitened forms stays closest to x (Bell and Sejnowski 1997, "The independent components of natural scenes are edge
/// filters"; Krizhevsky 2009). Directions in which the training data do not vary, to rounding, carry nothing to
/// whiten: their λ counts as 0, and with `epsilon` 0 they are left out (mapped to 0).
///
/// All is fitted in Double. Costs n·d² + 10·d³ operations for n rows of d features to fit, 2·n·d² to apply.
public struct Whitening<Scalar: BLASScalar>: Sendable {
  /// The form of the whitened data.
  public let kind: WhiteningKind
  /// What is added to each variance before its root is taken.
  public let epsilon: Double
  /// The variances of the training data along the axes kept, descending.
  public let explainedVariance: [Double]
  /// The same as parts of the training data's whole variance; zeros where that is 0.
  public let explainedVarianceRatio: [Double]
  /// The map itself: the means of the training data, and the matrix that centred rows are multiplied by.
  public let map: CentredLinearMap<Scalar>

  /// Fits the means and the matrix on training data.
  ///
  /// - Parameters:
  ///   - data: n ≥ 2 rows of d features.
  ///   - kind: the form of the whitened data.
  ///   - components: how many axes of largest variance to keep; default all d.
  ///   - epsilon: added to each variance, so that directions of little variance, mostly noise, are not blown up;
  ///     default 1e-6 (for pixels scaled to 0…1).
  /// - Throws: `WhiteningError` where an argument is out of range or the data are empty or hold NaN or infinity.
  public init(
    fitting data: Tensor<Scalar>, kind: WhiteningKind, components: Int? = nil, epsilon: Double = 1e-6
  ) throws(WhiteningError) {
    guard epsilon >= 0, epsilon.isFinite else { throw .invalidEpsilon(epsilon) }
    let moments: ScatterMatrix
    do { moments = try ScatterMatrix(data) } catch { throw .data(error) }
    if moments.rows < 2 { throw .tooFewRows(moments.rows) }
    let features = data.shape[1]
    let kept = components ?? features
    guard kept >= 1, kept <= features else { throw .componentsOutOfRange(kept, features: features) }
    do {
      let covariance = moments.scatter / Double(moments.rows - 1)
      let (variances, axes) = try Self.principalAxes(covariance)
      let scales = variances.prefix(kept).map { $0 + epsilon > 0 ? 1 / ($0 + epsilon).squareRoot() : 0 }
      let scaled = Tensor(shape: [features, kept]) { axes[$0 / kept, $0 % kept] * scales[$0 % kept] }
      map = try LAPACKError.wrappingShapeErrors { () throws(TensorError) in
        var matrix = scaled
        if kind == .zca {
          let keptAxes = Tensor(shape: [features, kept]) { axes[$0 / kept, $0 % kept] }
          matrix = try matmul(scaled, keptAxes, transposeB: true)
        }
        return try CentredLinearMap(means: moments.means, matrix: matrix)
      }
      let total = variances.reduce(0, +)
      explainedVariance = Array(variances.prefix(kept))
      explainedVarianceRatio = variances.prefix(kept).map { total > 0 ? $0 / total : 0 }
    } catch {
      throw .data(error)
    }
    self.kind = kind
    self.epsilon = epsilon
  }

  /// Whitens rows with the means and the matrix of the training data.
  ///
  /// - Returns: n rows of the components kept (PCA) or of d features (ZCA).
  /// - Throws: `WhiteningError.data` where `data` is no matrix of as many features as the training data.
  public func transform(_ data: Tensor<Scalar>) throws(WhiteningError) -> Tensor<Scalar> {
    do { return try map(data) } catch { throw .data(.shape(error)) }
  }

  /// The eigenvalues of a covariance, descending, and its eigenvectors as columns.
  ///
  /// The element of largest magnitude of each axis is made positive, so that the signs do not depend on the library.
  private static func principalAxes(
    _ covariance: Tensor<Double>
  ) throws(LAPACKError) -> (variances: [Double], axes: Tensor<Double>) {
    let decomposition = try SymmetricEigendecomposition(covariance)
    let size = covariance.shape[0]
    let (ascending, vectors) = (decomposition.eigenvalues.scalars, decomposition.eigenvectors)
    // Eigenvalues are off by about size·ulp of the largest, so what lies below that is rounding noise around 0.
    let noise = Double(size) * .ulpOfOne * (ascending.last ?? 0)
    let variances = ascending.reversed().map { $0 > noise ? $0 : 0 }
    var signs = [Double](repeating: 1, count: size)
    for axis in 0..<size {
      var largest = 0.0
      for row in 0..<size where abs(vectors[row, axis]) > abs(largest) { largest = vectors[row, axis] }
      if largest < 0 { signs[axis] = -1 }
    }
    let axes = Tensor(shape: [size, size]) { index in
      let axis = size - 1 - index % size
      return vectors[index / size, axis] * signs[axis]
    }
    return (variances, axes)
  }
}
