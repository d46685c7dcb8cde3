import NeuralNetworks
import Testing

/// Finite differences for every loss, alone and fused with the activation before it.
@Suite("Gradients of losses")
struct LossGradientTests {
  static let losses: [Loss] = [
    .sparseCategoricalCrossEntropy(fromLogits: true), .sparseCategoricalCrossEntropy(fromLogits: false),
    .categoricalCrossEntropy(fromLogits: true), .categoricalCrossEntropy(fromLogits: false),
    .binaryCrossEntropy(fromLogits: true), .binaryCrossEntropy(fromLogits: false), .meanSquaredError,
  ]

  @Test("Every loss on what fits it: logits, a softmax (fused or not), a sigmoid", arguments: losses)
  func everyLoss(loss: Loss) throws {
    var endings: [[any Layer]] = [[Dense(5, activation: .softmax)], [Dense(5, activation: .sigmoid)]]
    // A copy between softmax and loss keeps the two from being fused.
    endings.append([Dense(5, activation: .softmax), Offset<Double>(rows: 7, columns: 5)])
    if loss.isFromLogits { endings.append([Dense(5)]) }
    for ending in endings {
      try GradientCheck(
        layers: [Dense(6, activation: .tanh)] + ending, inputShape: [4], rows: 7, loss: loss
      ).run()
    }
  }

  @Test("Every loss over batches of 1, 2 and 33 and outputs of 1, 2 and 17 columns", arguments: losses)
  func shapes(loss: Loss) throws {
    for (rows, columns) in [(1, 2), (2, 17), (33, 3), (33, 1)] {
      let isCategorical = [Loss.categoricalCrossEntropy(), .sparseCategoricalCrossEntropy()].contains(loss)
      let activation: Activation =
        loss.isFromLogits ? .linear : isCategorical ? .softmax : .sigmoid
      try GradientCheck(
        layers: [Dense(columns, activation: activation)], inputShape: [4], rows: rows, loss: loss
      ).run()
    }
  }

  @Test("Every loss on outputs of rank 3: one loss per row", arguments: losses)
  func rankThree(loss: Loss) throws {
    try GradientCheck(
      layers: [Dense(5, activation: loss.isFromLogits ? .linear : .softmax)], inputShape: [3, 4], rows: 5, loss: loss
    ).run()
  }
}

extension Loss {
  /// Whether the loss takes any number, not only probabilities.
  var isFromLogits: Bool {
    switch self {
    case .categoricalCrossEntropy(let fromLogits), .sparseCategoricalCrossEntropy(let fromLogits),
      .binaryCrossEntropy(let fromLogits):
      fromLogits
    case .meanSquaredError: true
    }
  }
}
