import LinearAlgebra

/// What can be wrong with the arguments of a ridge classifier.
public enum RidgeClassifierError: Error, Equatable, CustomStringConvertible {
  /// There is not one label for each image.
  case labelCount(labels: Int, images: Int)
  /// A label is no class.
  case labelOutOfRange(index: Int, label: Int32, classes: Int)
  /// There are no classes, or so many that the weights exceed LAPACK's integer.
  case classCount(Int)
  /// The regularization is negative, NaN or infinite.
  case invalidRegularization(Double)
  /// An accuracy needs at least one image.
  case noImages
  /// The images are no matrix, are empty or not finite, have another number of features than those of the fit, or
  /// determine no unique solution.
  case data(LAPACKError)

  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .labelCount(let labels, let images):
      return "there are \(labels) labels for \(images) images; give one for each"
    case .labelOutOfRange(let index, let label, let classes):
      return "label \(label) of image \(index) is no class; give labels in 0..<\(classes)"
    case .classCount(let classes):
      return "a classifier cannot have \(classes) classes; give at least 1, and no more than the labels need"
    case .invalidRegularization(let value):
      return "regularization \(value) makes no penalty; give a number that is not negative"
    case .noImages:
      return "there is no accuracy on no images; give at least one"
    case .data(.notPositiveDefinite):
      return "the features depend on each other, so that the solution is not unique; give a larger regularization"
    case .data(let error):
      return "ridge classifier: \(error)"
    }
  }
}

/// A linear classifier in closed form, the baseline that a network has to beat: ridge regression to one-hot targets.
///
/// It minimizes Σ ‖y − (x − x̄)·W − b‖² + λ·s·‖W‖² over the images x with one-hot targets y, where s is the mean over
/// the features of Σ (x − x̄)²: so the same λ means the same for any unit, number of images and of features. The bias
/// is not penalized; the minimum is b = ȳ and (S + λ·s·I)·W = Xᵀ(Y − ȳ) with the scatter matrix S, solved by Cholesky
/// (Hoerl and Kennard 1970, "Ridge regression"). All is fitted in Double.
public struct RidgeClassifier<Scalar: BLASScalar>: Sendable {
  /// The number of classes.
  public let classes: Int
  /// The factor λ of the penalty.
  public let regularization: Double
  /// The map from images to scores: the means x̄, the features × classes matrix W and the bias b.
  public let map: CentredLinearMap<Scalar>

  /// Fits a classifier to labelled images.
  ///
  /// Costs n·d² + d³/3 operations for n images of d features; beside the d × d matrix, no more than 256 images are held
  /// as a copy.
  ///
  /// - Parameters:
  ///   - images: n rows of d features.
  ///   - labels: the class of each image.
  ///   - classes: the number of classes.
  ///   - regularization: λ; default 1e-3.
  /// - Throws: `RidgeClassifierError` where labels and images do not go together, an argument is out of range, the
  ///   images hold NaN or infinity, or `regularization` is too small for features that depend on each other.
  public static func fit(
    _ images: Tensor<Scalar>, labels: [Int32], classes: Int, regularization: Double = 1e-3
  ) throws(RidgeClassifierError) -> RidgeClassifier {
    guard regularization >= 0, regularization.isFinite else { throw .invalidRegularization(regularization) }
    let features = images.rank == 2 ? images.shape[1] : 0
    guard classes >= 1, classes <= Int(Int32.max) / max(features, 1) else { throw .classCount(classes) }
    try check(labels, classes: classes, images: images)
    do {
      var classSums = Tensor<Double>.zeros([classes, features])
      // Σ (x − x̄) over the images of a class is its row of (Y − ȳ)ᵀX: the centred images sum to 0, which takes ȳ out.
      let moments = try classSums.withUnsafeMutableBufferPointer { sums throws(LAPACKError) in
        try ScatterMatrix(images) { row, centred in
          Double.unsafeAddScaled(features, 1, centred, sums.baseAddress! + Int(labels[row]) * features)
        }
      }
      let sums = classSums
      let targets = try LAPACKError.wrappingShapeErrors { () throws(TensorError) in try sums.transposed() }
      let trace = (0..<features).reduce(0.0) { $0 + moments.scatter[$1, $1] }
      var weights = Tensor<Double>.zeros([features, classes])
      // Where no feature varies there is nothing to learn from, and the penalty's scale would be 0.
      if trace > 0 {
        var matrix = moments.scatter
        let penalty = regularization * trace / Double(features)
        for index in 0..<features { matrix[index, index] += penalty }
        weights = try CholeskyDecomposition(matrix).solve(targets)
      }
      var bias = Tensor<Double>.zeros([classes])
      for label in labels { bias[Int(label)] += 1 }
      let (matrix, shares) = (weights, bias / Double(moments.rows))
      let map = try LAPACKError.wrappingShapeErrors { () throws(TensorError) in
        try CentredLinearMap<Scalar>(means: moments.means, matrix: matrix, offset: shares)
      }
      return RidgeClassifier(classes: classes, regularization: regularization, map: map)
    } catch {
      throw .data(error)
    }
  }

  /// The scores of each image: one row of `classes` estimates of the one-hot target.
  ///
  /// - Throws: `RidgeClassifierError.data` where `images` is no matrix of as many features as the fit.
  public func scores(_ images: Tensor<Scalar>) throws(RidgeClassifierError) -> Tensor<Scalar> {
    do { return try map(images) } catch { throw .data(.shape(error)) }
  }

  /// The class of largest score for each image; of equal ones the first.
  ///
  /// - Throws: `RidgeClassifierError.data` where `images` is no matrix of as many features as the fit.
  public func predict(_ images: Tensor<Scalar>) throws(RidgeClassifierError) -> [Int32] {
    let scores = try scores(images)
    do { return try scores.argmaxAlongLastAxis().map { Int32($0) } } catch { throw .data(.shape(error)) }
  }

  /// The part of the images whose class is predicted right, 0 to 1.
  ///
  /// - Throws: `RidgeClassifierError` where labels and images do not go together, or there are none.
  public func accuracy(_ images: Tensor<Scalar>, labels: [Int32]) throws(RidgeClassifierError) -> Double {
    try Self.check(labels, classes: classes, images: images)
    if labels.isEmpty { throw .noImages }
    let right = zip(try predict(images), labels).count { $0 == $1 }
    return Double(right) / Double(labels.count)
  }

  private static func check(
    _ labels: [Int32], classes: Int, images: Tensor<Scalar>
  ) throws(RidgeClassifierError) {
    guard labels.count == images.shape[0] else { throw .labelCount(labels: labels.count, images: images.shape[0]) }
    if let index = labels.firstIndex(where: { $0 < 0 || $0 >= classes }) {
      throw .labelOutOfRange(index: index, label: labels[index], classes: classes)
    }
  }
}
