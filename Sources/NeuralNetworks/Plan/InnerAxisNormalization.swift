import Kernels

/// Batch normalization of an axis that is not the last, where it lies.
///
/// Samples are (outer, features, inner). The batch is a matrix of batch·outer rows and features·inner columns, whose
/// columns are shared out by whole features.
final class InnerAxisNormalization<Scalar: NetworkScalar>: WholeOperation {
  private let parts: [BoundNormalization<Scalar>]
  /// The first column of each part, and the number of columns at the end.
  private let boundaries: [Int]

  /// One binding for each part of the features, in order.
  init(_ parts: [BoundNormalization<Scalar>]) {
    self.parts = parts
    boundaries = parts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count * $1.inner) }
  }

  var partCount: Int { parts.count }

  func forward(
    part: Int, _ input: MatrixView<Scalar>, _ output: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>, _ mode: Mode
  ) {
    kernels.normalizeForward(parts[part], columns(part, input), columns(part, output), mode)
  }

  func backward(
    part: Int, input: MatrixView<Scalar>, output: MatrixView<Scalar>, gradient: MatrixView<Scalar>,
    inputGradient: MatrixView<Scalar>, _ kernels: StepKernels<Scalar>
  ) {
    kernels.normalizeBackward(
      parts[part], columns(part, input), columns(part, gradient), columns(part, inputGradient))
  }

  // Matrices with more than one row per sample, the only ones with an inner axis, have no gaps between rows.
  @inline(__always)
  private func columns(_ part: Int, _ view: MatrixView<Scalar>) -> MatrixView<Scalar> {
    view.reshaped(columns: boundaries[parts.count]).columns(boundaries[part]..<boundaries[part + 1])
  }
}

extension StageLayout {
  /// How the features of an inner axis, `positions` values each in a sample, are cut into parts.
  ///
  /// A part's values in a batch should stay in the L2 cache from one pass to the next, and a team needs several parts.
  static func innerAxisParts(features: Int, positions: Int) -> [Range<Int>] {
    let width = min(max(1, 1024 / positions), (features + 7) / 8)
    return stride(from: 0, to: features, by: width).map { $0..<min($0 + width, features) }
  }
}
