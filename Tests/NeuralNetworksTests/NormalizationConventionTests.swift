import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// The conventions of PyTorch, Keras and the paper: settings, running statistics, conversion.
@Suite("Conventions of batch normalization")
struct NormalizationConventionTests {
  @Test("Conventions set three things, each of which can be set alone")
  func conventions() {
    let pytorch = BatchNormalization(convention: .pytorch)
    #expect(pytorch.epsilon == 1e-5 && pytorch.momentum == .weightOfNew(0.1) && pytorch.runningVariance == .unbiased)
    let keras = BatchNormalization()
    #expect(keras.epsilon == 1e-3 && keras.momentum == .weightOfOld(0.99) && keras.runningVariance == .biased)
    let mixed = BatchNormalization(convention: .pytorch, momentum: .weightOfOld(0.5), runningVariance: .biased)
    #expect(mixed.epsilon == 1e-5 && mixed.momentum == .weightOfOld(0.5) && mixed.runningVariance == .biased)
    #expect(BatchNormalization(convention: .paper).momentum == .cumulativeAverage)
  }

  @Test("Running statistics of every rule, from plain formulas", arguments: [1, 3, 70])
  func runningStatistics(columns: Int) throws {
    let rules: [BatchNormalization.Momentum] = [.weightOfOld(0.75), .weightOfNew(0.125), .cumulativeAverage]
    for rule in rules {
      for kind in [BatchNormalization.RunningVariance.biased, .unbiased] {
        try check(BatchNormalization(momentum: rule, runningVariance: kind), columns: columns)
        try check(BatchNormalization(momentum: rule, runningVariance: kind, virtualBatchSize: 4), columns: columns)
      }
    }
  }

  private func check(_ layer: BatchNormalization, columns: Int) throws {
    let model = Sequential<Double>(layers: [layer])
    try model.compile(optimizer: SGD(learningRate: 0), loss: .meanSquaredError, threads: 2)
    var generator = Philox(seed: 5, purpose: "running statistics")
    var mean = [Double](repeating: 0, count: columns)
    var variance = [Double](repeating: 1, count: columns)
    for (step, rows) in [9, 2, 13, 8].enumerated() {
      let x = Tensor<Double>(shape: [rows, columns]) { _ in 4 + generator.nextNormal() }
      try model.trainOnBatch(Samples(x, targets: .zeros([rows, columns])))
      let old =
        switch layer.momentum {
        case .weightOfOld(let weight): weight
        case .weightOfNew(let weight): 1 - weight
        case .cumulativeAverage: Double(step) / Double(step + 1)
        }
      let n = Double(rows)
      for column in 0..<columns {
        let values = (0..<rows).map { x[$0, column] }
        let batch = values.reduce(0, +) / n
        let squares = values.reduce(0) { $0 + ($1 - batch) * ($1 - batch) }
        mean[column] = old * mean[column] + (1 - old) * batch
        variance[column] =
          old * variance[column] + (1 - old) * squares / (layer.runningVariance == .biased ? n : n - 1)
      }
      // Sums of up to 13 terms around 4, their squares around 1 and differences up to 4.
      for (name, expected) in [("moving_mean", mean), ("moving_variance", variance)] {
        let values = try model.parameter("batch_normalization.\(name)").scalars
        for (value, expected) in zip(values, expected) { #expect(abs(value - expected) <= 13 * 4.0.ulp * 4) }
      }
    }
    if layer.momentum == .cumulativeAverage {
      #expect(try model.parameter("batch_normalization.batch_count").scalars == [4])
    }
  }

  @Test("A layer in another convention's words does the same; the paper's and Keras's averages exclude each other")
  func conversion() throws {
    let keras = BatchNormalization(momentum: .weightOfOld(0.75), epsilon: 0.5, name: "bn")
    let pytorch = try keras.converted(to: .pytorch)
    #expect(pytorch.momentum == .weightOfNew(0.25) && pytorch.epsilon == 0.5 && pytorch.runningVariance == .unbiased)
    #expect(try pytorch.converted(to: .keras) == keras)
    #expect(try BatchNormalization(convention: .paper).converted(to: .pytorch).momentum == .cumulativeAverage)
    #expect(throws: ModelError.self) { try BatchNormalization(convention: .paper).converted(to: .keras) }
    #expect(throws: ModelError.self) { try keras.converted(to: .paper) }
  }

  @Test("A model's variances are converted for the batch size they come from")
  func modelConversion() throws {
    func trained(_ layer: BatchNormalization) throws -> Sequential<Double> {
      // Variance 0 at first: nothing is left of it to be multiplied.
      var layer = layer
      layer.movingVarianceInitializer = .zeros
      let model = Sequential<Double>(layers: [Dense(5), layer, Dense(2)])
      try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
      try model.build(inputShape: [2, 3])
      var generator = Philox(seed: 1, purpose: "conversion")
      for _ in 0..<5 {
        try model.trainOnBatch(randomSamples(&generator, count: 4, model: model, loss: .meanSquaredError))
      }
      return model
    }
    let keras = try trained(BatchNormalization(momentum: .weightOfOld(0.75), name: "bn"))
    let pytorch = try trained(
      BatchNormalization(convention: .pytorch, momentum: .weightOfNew(0.25), epsilon: 1e-3, name: "bn"))
    let converted = try keras.converted(to: .pytorch, batchSize: 4)
    // Batches of 4 samples of 2 positions: n = 8.
    for (ours, theirs) in zip(
      try converted.parameter("bn.moving_variance").scalars, try pytorch.parameter("bn.moving_variance").scalars)
    {
      #expect(abs(ours - theirs) <= 16 * theirs.ulp)
    }
    for name in ["dense.kernel", "bn.gamma", "bn.moving_mean"] {
      #expect(try converted.parameter(name) == keras.parameter(name))
    }
    let kept = try keras.converted(to: .pytorch, batchSize: nil)
    #expect(try kept.parameter("bn.moving_variance") == keras.parameter("bn.moving_variance"))
    #expect((kept.layers[1] as? BatchNormalization)?.momentum == .weightOfNew(0.25))
  }
}
