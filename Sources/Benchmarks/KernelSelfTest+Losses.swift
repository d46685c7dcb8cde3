import Foundation
import Kernels
import ReferenceKernels

extension KernelSelfTest {
  /// Loss and gradient of each loss over rows of ten classes.
  mutating func testLosses() {
    let classes = 10
    let kernels = table.losses
    let scale = 1 / Double(rows)
    let logits = ScratchMatrix<Scalar>(normal: rows, classes, seed: 22)
    let labels = (0..<rows).map { Int32(($0 * 3) % classes) }
    let probabilities = ScratchMatrix<Scalar>(rows, classes)
    table.activations.softmax(logits.view, probabilities.view)
    let targets = ScratchMatrix<Scalar>(rows, classes) { Double((Int(labels[$0]) == $1 ? 9 : 1)) / 18 }
    let (x, p, t) = (
      logits.converted(to: Double.self), probabilities.converted(to: Double.self), targets.converted(to: Double.self)
    )
    compare("sparseCategoricalFromLogits", x) {
      kernels.sparseCategoricalFromLogits(logits.view, labels, nil, $0, scale)
    } _: {
      ReferenceKernels.sparseCategoricalFromLogits(x.view, labels, nil, $0, scale)
    }
    compare("categoricalFromLogits", x) {
      kernels.categoricalFromLogits(logits.view, targets.view, nil, $0, scale)
    } _: {
      ReferenceKernels.categoricalFromLogits(x.view, t.view, nil, $0, scale)
    }
    compare("sparseCategoricalFromProbabilities", p) {
      kernels.sparseCategoricalFromProbabilities(probabilities.view, labels, nil, $0, scale)
    } _: {
      ReferenceKernels.sparseCategoricalFromProbabilities(p.view, labels, nil, $0, scale)
    }
    compare("categoricalFromProbabilities", p) {
      kernels.categoricalFromProbabilities(probabilities.view, targets.view, nil, $0, scale)
    } _: {
      ReferenceKernels.categoricalFromProbabilities(p.view, t.view, nil, $0, scale)
    }
    compare("binaryFromLogits", x) {
      kernels.binaryFromLogits(logits.view, targets.view, nil, $0, scale)
    } _: {
      ReferenceKernels.binaryFromLogits(x.view, t.view, nil, $0, scale)
    }
    compare("binaryFromProbabilities", p) {
      kernels.binaryFromProbabilities(probabilities.view, targets.view, nil, $0, scale)
    } _: {
      ReferenceKernels.binaryFromProbabilities(p.view, t.view, nil, $0, scale)
    }
    compare("meanSquaredError", x) {
      kernels.meanSquaredError(logits.view, targets.view, nil, $0, scale)
    } _: {
      ReferenceKernels.meanSquaredError(x.view, t.view, nil, $0, scale)
    }
  }

  private mutating func compare(
    _ name: String, _ input: ScratchMatrix<Double>, _ kernel: (MatrixView<Scalar>) -> LossSums,
    _ oracle: (MatrixView<Double>) -> LossSums
  ) {
    let gradient = ScratchMatrix<Scalar>(rows, input.view.columns)
    let exact = ScratchMatrix<Double>(rows, input.view.columns)
    let sums = kernel(gradient.view)
    let exactSums = oracle(exact.view)
    // Exponentials and logarithms are 3 units off, their arguments 2; sums round once a column.
    let units = Double(input.view.columns) / 2 + 10 + oracleUnits(input.view.columns + 8)
    note("losses.\(name) (gradient)", gradient, exact, term: max(exact.largest, 1 / Double(rows)), bound: units)
    let isRight = sums.correct == exactSums.correct
    // A row's loss is a difference of terms no larger than its inputs, their logarithms and the logarithm of the columns.
    let term = exactSums.loss + Double(rows) * (input.largest + log(Double(input.view.columns)))
    note(
      "losses.\(name) (loss)", difference: isRight ? abs(sums.loss - exactSums.loss) : .infinity, term: term,
      bound: units + oracleUnits(rows))
  }
}
