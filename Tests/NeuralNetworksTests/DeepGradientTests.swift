import NeuralNetworks
import Testing

/// Finite differences for whole stacks, wide enough for two to four tiles a layer.
@Suite("Gradients of deep networks")
struct DeepGradientTests {
  static let rows = [2, 7, 33]

  @Test("Dense, normalization, ReLU, dropout, Dense, ReLU, normalization, Dense", arguments: rows)
  func bothPlacements(rows: Int) throws {
    try GradientCheck(
      layers: [
        Dense(100, useBias: false), BatchNormalization(), Activation.relu, Dropout(0.2), Dense(130, activation: .relu),
        BatchNormalization(), Dense(50), Activation.softmax,
      ], inputShape: [17], rows: rows, loss: .sparseCategoricalCrossEntropy()
    ).run()
  }

  @Test("Widths around the tiles' boundaries", arguments: rows)
  func boundaries(rows: Int) throws {
    try GradientCheck(
      layers: [
        Dense(47, activation: .gelu), BatchNormalization(), Dense(48, activation: .elu()), Dense(65), Dropout(0.5),
        BatchNormalization(), Activation.selu, Dense(129, activation: .sigmoid), Dense(3),
      ], inputShape: [64], rows: rows, loss: .categoricalCrossEntropy(fromLogits: true)
    ).run()
  }

  @Test("Stages that one member computes whole, between tiled ones")
  func wholeStages() throws {
    try GradientCheck(
      layers: [
        Dense(70, activation: .tanh), ScaledSquare<Double>(), Dense(70), BatchNormalization(axis: 1),
        Activation.softmax, Flatten(), Dense(70, activation: .relu), BatchNormalization(),
        Dense(60, activation: .sigmoid),
      ], inputShape: [3, 9], rows: 5, loss: .binaryCrossEntropy()
    ).run()
  }

  @Test("One sample: no normalization, whose variance it would not have")
  func oneSample() throws {
    let layers: [any Layer] = [Dense(60, activation: .tanh), Dense(100, activation: .relu), Dense(3)]
    try GradientCheck(layers: layers, inputShape: [9], rows: 1, loss: .meanSquaredError).run()
  }
}
