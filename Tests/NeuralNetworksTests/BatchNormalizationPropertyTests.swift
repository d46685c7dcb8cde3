import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// What follows from the formula of batch normalization, whatever the numbers.
@Suite("Properties of batch normalization")
struct BatchNormalizationPropertyTests {
  static let conventions: [BatchNormalization.Convention] = [.keras, .pytorch, .paper]

  /// A normalization alone: training outputs are seen through a loss of no account, gradients are given.
  struct Alone {
    let model: Sequential<Double>
    let inputs: Tensor<Double>
    let gradient: [Double]
    let rows: Int
    let columns: Int

    init(rows: Int, columns: Int, layer: BatchNormalization, offset: Double = 0) throws {
      var generator = Philox(seed: 7, purpose: "properties")
      self.rows = rows
      self.columns = columns
      let gradient = (0..<rows * columns).map { _ in generator.nextNormal() }
      self.gradient = gradient
      inputs = Tensor(shape: [rows, columns]) { _ in offset + 2 * generator.nextNormal() }
      model = Sequential<Double>(layers: [
        Offset<Double>(rows: rows, columns: columns), layer, GivenGradient<Double>(gradient: gradient),
      ])
      try model.compile(optimizer: SGD(learningRate: 0), loss: .meanSquaredError, threads: 2)
      try model.build(inputShape: [columns])
    }

    /// Runs the training mode, and returns the outputs, from the plan's own memory.
    func trainingOutputs() throws -> [Double] {
      let plan = try model.plan(samples: rows)
      _ = try model.computeGradients(Samples(inputs, targets: .zeros([rows, columns])))
      let view = plan.output(samples: rows)
      return (0..<rows * columns).map { view[$0 / columns, $0 % columns] }
    }
  }

  @Test("Training outputs have mean β and variance γ²·σ²/(σ² + ε)", arguments: [2, 5, 32, 33, 1000], conventions)
  func outputMoments(rows: Int, convention: BatchNormalization.Convention) throws {
    let epsilon = convention.epsilon
    for columns in [1, 7, 17, 100] {
      let alone = try Alone(rows: rows, columns: columns, layer: BatchNormalization(convention: convention))
      let gamma = Tensor<Double>(shape: [columns]) { 0.5 + Double($0) / 10 }
      let beta = Tensor<Double>(shape: [columns]) { 1 - Double($0) / 7 }
      try alone.model.setParameter("batch_normalization.gamma", to: gamma)
      try alone.model.setParameter("batch_normalization.beta", to: beta)
      let outputs = try alone.trainingOutputs()
      for column in 0..<columns {
        let x = moments((0..<rows).map { alone.inputs[$0, column] })
        let y = moments((0..<rows).map { outputs[$0 * columns + column] })
        let expected = gamma[column] * gamma[column] * x.variance / (x.variance + epsilon)
        // A sum of n terms is off by at most n half ulps of the sum of magnitudes, mean and variance by as much each.
        let magnitude = abs(beta[column]) + 4 * gamma[column]
        #expect(abs(y.mean - beta[column]) <= Double(rows + 16) * magnitude.ulp)
        #expect(abs(y.variance - expected) <= Double(4 * rows + 64) * (magnitude * magnitude).ulp)
      }
    }
  }

  @Test("Σ dx = 0 and Σ dx·x̂ is what ε leaves of it", arguments: [2, 5, 33, 1000], conventions)
  func gradientSums(rows: Int, convention: BatchNormalization.Convention) throws {
    let epsilon = convention.epsilon
    let columns = 100
    let alone = try Alone(rows: rows, columns: columns, layer: BatchNormalization(convention: convention))
    _ = try alone.trainingOutputs()
    let dx = try alone.model.gradient("offset.values")
    for column in 0..<columns {
      let values = (0..<rows).map { alone.inputs[$0, column] }
      let x = moments(values)
      let inverse = 1 / (x.variance + epsilon).squareRoot()
      let normalized = values.map { ($0 - x.mean) * inverse }
      let dy = (0..<rows).map { alone.gradient[$0 * columns + column] }
      let largest = dy.map(abs).max()! * inverse
      let bound = Double(rows + 16) * Double(rows).squareRoot() * largest.ulp * 4
      #expect(abs((0..<rows).reduce(0) { $0 + dx[$1, column] }) <= bound)
      // Σx̂² = n·σ²/(σ² + ε), not n: dγ·inverse·ε/(σ² + ε) is left.
      let dGamma = zip(dy, normalized).reduce(0) { $0 + $1.0 * $1.1 }
      let rest = dGamma * inverse * epsilon / (x.variance + epsilon)
      let sum = (0..<rows).reduce(0) { $0 + dx[$1, column] * normalized[$1] }
      #expect(abs(sum - rest) <= 4 * bound, "row sum \(sum), expected \(rest)")
      #expect(abs(sum) <= abs(dGamma) * inverse * epsilon / x.variance + 4 * bound)
    }
  }

  @Test("BN(aWu) = BN(Wu) and ∂/∂(aW) = 1/a·∂/∂W, without ε", arguments: conventions)
  func scaleInvariance(convention: BatchNormalization.Convention) throws {
    let layers: [any Layer] = [
      Dense(100, useBias: false, name: "first"), BatchNormalization(convention: convention, epsilon: 0),
      Activation.relu,
      Dense(3),
    ]
    let check = GradientCheck(layers: layers, inputShape: [20], rows: 33, loss: .meanSquaredError)
    let (model, samples) = try check.makeModel(layers, threads: 2)
    let loss = try model.computeGradients(samples).loss
    let gradient = try model.gradient("first.kernel")
    let kernel = try model.parameter("first.kernel")
    // A power of two scales every number of the computation exactly; others by a rounding each.
    for (factor, exact) in [(4.0, true), (0.125, true), (3.0, false), (1e3, false), (0.7, false)] {
      try model.setParameter("first.kernel", to: Tensor(shape: kernel.shape) { factor * kernel[flat: $0] })
      let scaledLoss = try model.computeGradients(samples).loss
      let scaled = try model.gradient("first.kernel")
      // 20 products, 33 rows of moments, and as much backward, each rounding magnified by no more than 1/√n of cancelling.
      let bound = exact ? 0 : 4 * Double(20 + 33 + 100 + 33) * 0x1p-52
      #expect(abs(scaledLoss - loss) <= bound * loss)
      let largest = gradient.scalars.map(abs).max()!
      for index in 0..<gradient.count {
        #expect(abs(scaled[flat: index] * factor - gradient[flat: index]) <= bound * largest)
      }
    }
  }

  @Test("A bias before a normalization has gradient 0, but for rounding", arguments: [2, 7, 33], conventions)
  func biasBeforeNormalization(rows: Int, convention: BatchNormalization.Convention) throws {
    let layers: [any Layer] = [
      Dense(100, name: "first"), BatchNormalization(convention: convention), Activation.tanh, Dense(3),
    ]
    let check = GradientCheck(layers: layers, inputShape: [20], rows: rows, loss: .meanSquaredError)
    let (model, samples) = try check.makeModel(layers, threads: 2)
    try model.computeGradients(samples)
    let bias = try model.gradient("first.bias").scalars.map(abs).max()!
    let kernel = try model.gradient("first.kernel").scalars.map(abs).max()!
    // The bias's gradient is Σ dx over n rows, each |dx| off by a few ulp of the terms it is the difference of. Those are
    // at most √(1/ε)·max|dy| (the loss's slopes are below 1), whatever the batch.
    #expect(bias <= Double(rows * (rows + 16)) * (1 / convention.epsilon).squareRoot() * 0x1p-52)
    #expect(kernel > 1e-6 && bias < 1e-6 * kernel)
  }

  @Test("Inference is one affine map per feature, of the moving statistics", arguments: conventions)
  func inference(convention: BatchNormalization.Convention) throws {
    let columns = 70
    let layer = BatchNormalization(convention: convention, momentum: .weightOfOld(0.5))
    let model = Sequential<Double>(layers: [layer])
    try model.compile(optimizer: SGD(learningRate: 0.1), loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: [columns])
    var generator = Philox(seed: 3, purpose: "inference")
    for _ in 0..<3 {
      try model.trainOnBatch(randomSamples(&generator, count: 12, model: model, loss: .meanSquaredError))
    }
    func parameter(_ name: String) throws -> Tensor<Double> { try model.parameter("batch_normalization.\(name)") }
    let (gamma, beta) = try (parameter("gamma"), parameter("beta"))
    let (mean, variance) = try (parameter("moving_mean"), parameter("moving_variance"))
    for rows in [1, 5, 33] {
      let x = Tensor<Double>(shape: [rows, columns]) { _ in 3 * generator.nextNormal() }
      let y = try model.predict(x)
      for index in 0..<x.count {
        let column = index % columns
        let slope = gamma[column] / (variance[column] + convention.epsilon).squareRoot()
        let expected = slope * x[flat: index] + (beta[column] - slope * mean[column])
        let magnitude = abs(slope) * (abs(x[flat: index]) + abs(mean[column])) + abs(beta[column])
        // A handful of roundings each way: difference, root, quotient, product, sum.
        #expect(abs(y[flat: index] - expected) <= 16 * magnitude.ulp)
      }
    }
  }

  @Test(
    "Inference with momentum 0 agrees with the training outputs of the batch; before training it does not",
    arguments: conventions)
  func momentumZero(convention: BatchNormalization.Convention) throws {
    let layer = BatchNormalization(convention: convention, momentum: .weightOfOld(0), runningVariance: .biased)
    let alone = try Alone(rows: 33, columns: 70, layer: layer, offset: 5)
    let before = try alone.model.predict(alone.inputs)
    let training = try alone.trainingOutputs()
    let after = try alone.model.predict(alone.inputs)
    #expect(zip(before.scalars, training).contains { abs($0 - $1) > 1 })
    // The batch's statistics are the same; only the mean's low part may be missing: half an ulp of a mean of 5.
    let bound = 16 * 8.0.ulp
    for (left, right) in zip(after.scalars, training) { #expect(abs(left - right) <= bound) }
  }

  @Test("moving = momentum·moving + (1 − momentum)·batch, with the biased variance", arguments: [0, 0.5, 0.99, 1.0])
  func movingStatistics(momentum: Double) throws {
    let (rows, columns) = (9, 70)
    let model = Sequential<Double>(layers: [BatchNormalization(momentum: .weightOfOld(momentum))])
    try model.compile(optimizer: SGD(learningRate: 0), loss: .meanSquaredError, threads: 2)
    var generator = Philox(seed: 5, purpose: "moving statistics")
    var mean = [Double](repeating: 0, count: columns)
    var variance = [Double](repeating: 1, count: columns)
    for _ in 0..<3 {
      let x = Tensor<Double>(shape: [rows, columns]) { _ in 4 + generator.nextNormal() }
      try model.trainOnBatch(Samples(x, targets: .zeros([rows, columns])))
      let movingMean = try model.parameter("batch_normalization.moving_mean")
      let movingVariance = try model.parameter("batch_normalization.moving_variance")
      for column in 0..<columns {
        let batch = moments((0..<rows).map { x[$0, column] })
        mean[column] = momentum * mean[column] + (1 - momentum) * batch.mean
        variance[column] = momentum * variance[column] + (1 - momentum) * batch.variance
        // Sums of 9 terms around 4 (their squares: around 1, differences up to 4).
        #expect(abs(movingMean[column] - mean[column]) <= Double(rows) * 4.0.ulp * 2)
        #expect(abs(movingVariance[column] - variance[column]) <= Double(rows) * 4.0.ulp * 4)
      }
    }
  }

  /// Mean and biased variance.
  private func moments(_ values: [Double]) -> (mean: Double, variance: Double) {
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count)
  }
}
