import NeuralNetworks
import Testing

/// Finite differences for every layer and every fusion of neighbours; `GradientCheck` states the tolerance.
@Suite("Gradients of layers")
struct LayerGradientTests {
  static let activations: [Activation] = [
    .linear, .relu, .leakyReLU(), .leakyReLU(negativeSlope: 0), .elu(), .elu(alpha: 0.5), .selu, .gelu, .sigmoid, .tanh,
    .softmax,
  ]
  static let rows = [1, 2, 7, 33]

  @Test("Dense with each activation", arguments: activations)
  func dense(activation: Activation) throws {
    for (rows, bias) in [(1, true), (2, false), (7, true), (33, true)] {
      try GradientCheck(
        layers: [Dense(5, activation: activation, useBias: bias), Dense(3, activation: .tanh)], inputShape: [4],
        rows: rows, loss: .meanSquaredError
      ).run()
    }
  }

  @Test("The activation of the last layer, which the loss follows", arguments: activations)
  func lastActivation(activation: Activation) throws {
    try GradientCheck(
      layers: [Dense(6, activation: activation)], inputShape: [3], rows: 7, loss: .meanSquaredError
    ).run()
  }

  @Test("Activations as layers of their own, on inputs of rank 2 and 3", arguments: activations)
  func activationLayer(activation: Activation) throws {
    for shape in [[5], [2, 5]] {
      try GradientCheck(
        layers: [activation, Dense(4), activation], inputShape: shape, rows: 7, loss: .meanSquaredError
      ).run()
    }
  }

  @Test("Batch normalization", arguments: [2, 7, 33])
  func batchNormalization(rows: Int) throws {
    for (center, scale) in [(true, true), (false, true), (true, false), (false, false)] {
      try GradientCheck(
        layers: [Dense(6), BatchNormalization(center: center, scale: scale), Dense(3)], inputShape: [4], rows: rows,
        loss: .meanSquaredError
      ).run()
    }
  }

  @Test("Batch normalization after and before each activation", arguments: activations)
  func normalizationAndActivation(activation: Activation) throws {
    for rows in [2, 7] {
      for bias in [true, false] {
        try GradientCheck(
          layers: [Dense(6, activation: activation, useBias: bias), BatchNormalization(), Dense(2)], inputShape: [4],
          rows: rows, loss: .meanSquaredError
        ).run()
        try GradientCheck(
          layers: [Dense(6, useBias: bias), BatchNormalization(epsilon: 1e-5), activation, Dense(2)], inputShape: [4],
          rows: rows, loss: .meanSquaredError
        ).run()
      }
    }
  }

  @Test("ReLU on both sides of a batch normalization, and two normalizations on end")
  func chains() throws {
    let chains: [[any Layer]] = [
      [Dense(6, activation: .relu), BatchNormalization(), Activation.relu, Dense(2)],
      [Dense(6), BatchNormalization(), BatchNormalization(), Dense(2)],
      [Dense(6), BatchNormalization(), Activation.relu, Activation.relu, BatchNormalization(), Dense(2)],
      [Dense(6, activation: .relu), BatchNormalization(), Activation.relu, BatchNormalization(), Activation.relu],
      [BatchNormalization(), Dense(3, activation: .relu), Activation.tanh, Activation.sigmoid],
      [Activation.relu, BatchNormalization(), Dropout(0.3), Dense(3)],
      [Dense(6, activation: .gelu), Activation.gelu, Activation.relu, BatchNormalization()],
      [Dense(6), Activation.softmax, BatchNormalization(), Activation.softmax, Dense(2)],
      [Dense(6, activation: .tanh), Dropout(0.5), Activation.sigmoid, Dropout(0.5), Dense(2)],
    ]
    for layers in chains {
      for rows in [2, 7] {
        try GradientCheck(layers: layers, inputShape: [5], rows: rows, loss: .meanSquaredError).run()
      }
    }
  }

  @Test("Batch normalization of the last and of inner axes")
  func axes() throws {
    for axis in [1, 2, 3, -1, -2, -3] {
      for (center, scale) in [(true, true), (false, false)] {
        let normalization = BatchNormalization(axis: axis, center: center, scale: scale)
        try GradientCheck(
          layers: [Dense(3), normalization, Activation.relu, Flatten(), Dense(2)], inputShape: [2, 4, 5], rows: 5,
          loss: .meanSquaredError
        ).run()
        try GradientCheck(
          layers: [normalization, Activation.sigmoid], inputShape: [2, 4, 3], rows: 3, loss: .meanSquaredError
        ).run()
      }
    }
    for axis in [1, 2] {
      try GradientCheck(
        layers: [Dense(3), BatchNormalization(axis: axis), Dense(2)], inputShape: [4, 5], rows: 3,
        loss: .meanSquaredError
      ).run()
    }
  }

  @Test("Dropout: the mask of a step is the same each time it is drawn")
  func dropout() throws {
    for rate in [0, 0.1, 0.5, 0.9] {
      try GradientCheck(
        layers: [Dense(9, activation: .relu), Dropout(rate), Dense(3)], inputShape: [4], rows: 7,
        loss: .meanSquaredError
      ).run()
      try GradientCheck(
        layers: [Dropout(rate), Dense(3), Dropout(rate)], inputShape: [4], rows: 7, loss: .meanSquaredError
      ).run()
    }
  }

  @Test("Flatten, and Dense on the last axis of rank 3 and 4")
  func ranks() throws {
    for layers: [any Layer] in [
      [Dense(4, activation: .relu), Flatten(), Dense(2)],
      [Flatten(), Dense(2)],
      [Flatten(), Activation.tanh, Dense(2)],
      [Dense(4, activation: .tanh), Flatten(), BatchNormalization(), Dense(2)],
      [Dense(4), BatchNormalization(), Dense(3, activation: .softmax)],
      [Dense(4), Flatten(), Activation.softmax, Dense(2)],
    ] {
      for shape in [[3, 5], [2, 1, 5]] {
        try GradientCheck(layers: layers, inputShape: shape, rows: 7, loss: .meanSquaredError).run()
      }
    }
  }

  @Test("Softmax between layers")
  func softmaxInTheMiddle() throws {
    for rows in Self.rows {
      try GradientCheck(
        layers: [Dense(7, activation: .softmax), Dense(4), Activation.softmax, Dense(3)], inputShape: [4], rows: rows,
        loss: .sparseCategoricalCrossEntropy(fromLogits: true)
      ).run()
    }
  }

  @Test("A user's layer, first, between and last")
  func customLayer() throws {
    for layers: [any Layer] in [
      [ScaledSquare<Double>(), Dense(3)],
      [Dense(6), ScaledSquare<Double>(), BatchNormalization(), Activation.relu, ScaledSquare<Double>(), Dense(2)],
      [Dense(3, activation: .tanh), ScaledSquare<Double>()],
      [Dense(70, activation: .tanh), ScaledSquare<Double>(), Dense(70, activation: .tanh)],
    ] {
      try GradientCheck(layers: layers, inputShape: [4], rows: 7, loss: .meanSquaredError).run()
      try GradientCheck(layers: layers, inputShape: [2, 4], rows: 3, loss: .meanSquaredError).run()
    }
  }
}
