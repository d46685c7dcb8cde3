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

extension GradientProducts {
  /// The gradients of the kernels of the tiles `owned` of a stage whose inputs are x: a few tiles together, block by block.
  ///
  /// - Parameters:
  ///   - outputs: the gradient of a tile's outputs.
  ///   - use: gets a tile, rows of its kernel, and what makes their gradient in the memory that it is given.
  @inline(__always)
  func makeGradients(
    _ member: Int, inputs x: MatrixView<Scalar>, tiles owned: Range<Int>, outputs: (Int) -> MatrixView<Scalar>,
    use: (Int, Range<Int>, (MatrixView<Scalar>) -> Void) -> Void
  ) {
    if owned.isEmpty { return }
    prepareGradient(member, inputs: x)
    let together = tilesTogether(inputs: x.columns, samples: x.rows)
    var first = owned.lowerBound
    while first < owned.upperBound {
      let group = first..<min(first + together, owned.upperBound)
      for tile in group { prepareGradient(member, outputs: outputs(tile), at: tile - first) }
      var row = 0
      while row < x.columns {
        let block = row..<min(row + gradientRows, x.columns)
        row = block.upperBound
        for tile in group {
          use(tile, block) {
            makeGradient(member, inputs: x.columns, samples: x.rows, block, at: tile - first, into: $0)
          }
        }
      }
      first = group.upperBound
    }
  }
}
