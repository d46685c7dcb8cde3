import Kernels
import LinearAlgebra

/// Gradients of kernels, xᵀ·z, of factors that a member lays out first: x for all of its tiles, then z for each.
protocol GradientProducts<Scalar>: AnyObject {
  associatedtype Scalar: NetworkScalar

  /// Lays out a stage's inputs.
  func prepareGradient(_ member: Int, inputs: MatrixView<Scalar>)
  /// Lays out the gradient of a tile's outputs.
  func prepareGradient(_ member: Int, outputs: MatrixView<Scalar>)

  /// Rows of a gradient that are best made at once.
  var gradientRows: Int { get }

  /// The rows `block` of a gradient of `inputs` rows, from a multiple of `gradientRows` on, into the memory of those rows.
  ///
  /// It may have more columns than z, as many as their whole vectors: zeros.
  func makeGradient(_ member: Int, inputs: Int, samples: Int, _ block: Range<Int>, into: MatrixView<Scalar>)
}
