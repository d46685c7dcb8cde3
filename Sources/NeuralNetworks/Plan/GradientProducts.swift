import Kernels
import LinearAlgebra

/// Gradients of kernels, xᵀ·z, of factors that a member lays out first: x for all of its tiles, then z for one tile or a few.
protocol GradientProducts<Scalar>: AnyObject {
  associatedtype Scalar: NetworkScalar

  /// Lays out a stage's inputs.
  func prepareGradient(_ member: Int, inputs: MatrixView<Scalar>)
  /// Lays out the gradient of the outputs of a tile, the one of this `place` among those that are laid out together.
  func prepareGradient(_ member: Int, outputs: MatrixView<Scalar>, at place: Int)

  /// Rows of a gradient that are best made at once.
  var gradientRows: Int { get }
  /// Tiles whose gradients are best made together: a block of x for one after another, before the next block.
  func tilesTogether(inputs: Int, samples: Int) -> Int

  /// The rows `block` of a gradient of `inputs` rows, from a multiple of `gradientRows` on, into the memory of those rows,
  /// for the tile of this `place`.
  ///
  /// It may have more columns than z, as many as their whole vectors: zeros.
  func makeGradient(
    _ member: Int, inputs: Int, samples: Int, _ block: Range<Int>, at place: Int, into: MatrixView<Scalar>)
}
