import Kernels
import RandomNumbers
import ReferenceKernels

/// The seven losses under one signature, each with inputs that suit it.
enum LossCase: CaseIterable {
  case sparseLogits, logits, sparseProbabilities, probabilities, binaryLogits, binaryProbabilities, squaredError

  var isSparse: Bool { self == .sparseLogits || self == .sparseProbabilities }
  var isCategorical: Bool { isSparse || self == .logits || self == .probabilities }
  var takesProbabilities: Bool {
    self == .sparseProbabilities || self == .probabilities || self == .binaryProbabilities
  }

  func run<S: KernelScalar>(
    _ table: LossKernels<S>, _ x: MatrixView<S>, _ targets: MatrixView<S>, _ labels: UnsafePointer<Int32>,
    _ weights: UnsafePointer<S>?, _ gradient: MatrixView<S>?, _ scale: Double
  ) -> LossSums {
    switch self {
    case .sparseLogits: table.sparseCategoricalFromLogits(x, labels, weights, gradient, scale)
    case .logits: table.categoricalFromLogits(x, targets, weights, gradient, scale)
    case .sparseProbabilities: table.sparseCategoricalFromProbabilities(x, labels, weights, gradient, scale)
    case .probabilities: table.categoricalFromProbabilities(x, targets, weights, gradient, scale)
    case .binaryLogits: table.binaryFromLogits(x, targets, weights, gradient, scale)
    case .binaryProbabilities: table.binaryFromProbabilities(x, targets, weights, gradient, scale)
    case .squaredError: table.meanSquaredError(x, targets, weights, gradient, scale)
    }
  }

  func runOracle(
    _ x: MatrixView<Double>, _ targets: MatrixView<Double>, _ labels: UnsafePointer<Int32>,
    _ weights: UnsafePointer<Double>?, _ gradient: MatrixView<Double>?, _ scale: Double
  ) -> LossSums {
    typealias Oracle = ReferenceKernels
    return switch self {
    case .sparseLogits: Oracle.sparseCategoricalFromLogits(x, labels, weights, gradient, scale)
    case .logits: Oracle.categoricalFromLogits(x, targets, weights, gradient, scale)
    case .sparseProbabilities: Oracle.sparseCategoricalFromProbabilities(x, labels, weights, gradient, scale)
    case .probabilities: Oracle.categoricalFromProbabilities(x, targets, weights, gradient, scale)
    case .binaryLogits: Oracle.binaryFromLogits(x, targets, weights, gradient, scale)
    case .binaryProbabilities: Oracle.binaryFromProbabilities(x, targets, weights, gradient, scale)
    case .squaredError: Oracle.meanSquaredError(x, targets, weights, gradient, scale)
    }
  }
}

/// Predictions, targets, labels and weights for a loss: logits of a few units, or probabilities well inside (0, 1).
struct LossInputs<S: KernelScalar> {
  let x: PaddedMatrix<S>
  let targets: PaddedMatrix<S>
  let labels: [Int32]
  let weights: PaddedMatrix<S>

  init(_ loss: LossCase, _ rows: Int, _ columns: Int) {
    var random = Philox(seed: 21, stream: UInt64(rows * 10_000 + columns))
    x = PaddedMatrix(rows, columns) { _, _ in
      loss.takesProbabilities ? 0.05 + 0.9 * random.nextUniform() : 3 * random.nextNormal()
    }
    // Soft targets whose rows need not sum to 1: the formulas hold for any.
    targets = PaddedMatrix(rows, columns, padding: 5) { _, _ in
      let value = random.nextUniform()
      return value < 0.3 ? 0 : value
    }
    // Half of the labels are the prediction's own argmax: both outcomes get counted.
    let x = x
    labels = (0..<rows).map { row in
      row % 2 == 0
        ? Int32((0..<columns).max { x[row, $0] < x[row, $1] }!) : Int32(random.nextInteger(below: columns))
    }
    weights = PaddedMatrix(1, rows) { _, _ in 2 * random.nextUniform() }
  }
}
