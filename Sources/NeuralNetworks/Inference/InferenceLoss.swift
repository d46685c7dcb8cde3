import Kernels

extension Predictor {
  /// Loss and right answers of samples from `first` of a source that `row` numbers, in inference mode.
  ///
  /// `output` is room for the outputs. A softmax at the end and a cross-entropy become a cross-entropy of logits, as in
  /// training.
  package func evaluate(
    _ source: BatchSource<Scalar>, first: Int, samples: Int, loss: Loss, output: UnsafeMutablePointer<Scalar>
  ) -> LossSums {
    let fused = program.endsInSoftmax ? loss.fusedWithSoftmax : nil
    run(
      source.inputs.advanced(by: first, width: inputCount), samples: samples, into: output,
      beforeSoftmax: fused != nil)
    let columns = outputShape[outputShape.count - 1]
    let rowsPerSample = outputCount / columns
    let view = MatrixView(base: output, rows: samples * rowsPerSample, columns: columns)
    switch source.targets {
    case .none: return LossSums(loss: 0, correct: 0)
    case .labels(let labels):
      return program.table.losses.sums(fused ?? loss, view, labels: labels + first * rowsPerSample)
    case .values(let values):
      let targets = MatrixView(
        base: UnsafeMutablePointer(mutating: values + first * outputCount), rows: view.rows, columns: columns)
      return program.table.losses.sums(fused ?? loss, view, targets: targets)
    }
  }
}

extension LossKernels {
  /// The sums of a loss that takes labels.
  fileprivate func sums(_ loss: Loss, _ output: MatrixView<Scalar>, labels: UnsafePointer<Int32>) -> LossSums {
    switch loss {
    case .sparseCategoricalCrossEntropy(true): sparseCategoricalFromLogits(output, labels, nil, nil, 1)
    default: sparseCategoricalFromProbabilities(output, labels, nil, nil, 1)
    }
  }

  /// The sums of a loss that takes rows of targets.
  fileprivate func sums(_ loss: Loss, _ output: MatrixView<Scalar>, targets: MatrixView<Scalar>) -> LossSums {
    switch loss {
    case .categoricalCrossEntropy(true): categoricalFromLogits(output, targets, nil, nil, 1)
    case .categoricalCrossEntropy(false): categoricalFromProbabilities(output, targets, nil, nil, 1)
    case .binaryCrossEntropy(true): binaryFromLogits(output, targets, nil, nil, 1)
    case .binaryCrossEntropy(false): binaryFromProbabilities(output, targets, nil, nil, 1)
    case .meanSquaredError, .sparseCategoricalCrossEntropy: meanSquaredError(output, targets, nil, nil, 1)
    }
  }
}

extension BatchSource.Inputs {
  /// The same inputs from sample `first` on.
  package func advanced(by first: Int, width: Int) -> Self {
    switch self {
    case .bytes(let bytes, let scale, let offset): .bytes(bytes + first * width, scale: scale, offset: offset)
    case .bytesByColumn(let bytes, let scale, let offset):
      .bytesByColumn(bytes + first * width, scale: scale, offset: offset)
    case .scalars(let scalars): .scalars(scalars + first * width)
    }
  }
}
