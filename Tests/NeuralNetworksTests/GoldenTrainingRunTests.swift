import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// A whole training run against Keras, with normalization after and before ReLU.
@Suite("Golden training run")
struct GoldenTrainingRunTests {
  @Test("Twenty steps of Adam, in Double and Float")
  func runs() throws {
    let vectors = try GoldenVectors.load("training_run", as: GoldenVectors.TrainingRun.self)
    #expect(Set(vectors.runs.map(\.placement)) == ["after", "before"])
    for run in vectors.runs {
      try check(vectors, run, in: Double.self)
      try check(vectors, run, in: Float.self)
    }
  }

  private func check<Scalar: NetworkScalar>(
    _ vectors: GoldenVectors.TrainingRun, _ run: GoldenVectors.TrainingRun.Run, in _: Scalar.Type
  ) throws {
    let model = Sequential<Scalar>(layers: layers(vectors, after: run.placement == "after"))
    try model.compile(
      optimizer: Adam(
        learningRate: vectors.learningRate, beta1: vectors.beta1, beta2: vectors.beta2, epsilon: vectors.adamEpsilon),
      loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
    try model.build(inputShape: [6])
    func set(_ layer: String, _ name: String, _ arrays: [GoldenVectors.Array]) throws {
      for (index, array) in arrays.enumerated() {
        try model.setParameter("\(layer)\(index).\(name)", to: array.tensor())
      }
    }
    try set("dense", "kernel", vectors.kernels)
    try set("dense", "bias", vectors.biases)
    try set("bn", "gamma", vectors.gammas)
    try set("bn", "beta", vectors.betas)

    // In Double the golden losses agree to 1e-11, the weights to 1e-9 (README). In Float, Adam's first steps turn a
    // gradient into its sign times the learning rate: an error of u in a gradient moves a weight by up to
    // learningRate·u/|g| a step, for gradients above 1e-3 (of losses around 1) 1,000 ulp of the step, over 20 steps.
    let isFloat = Scalar.self == Float.self
    let drift = 20 * vectors.learningRate * 1000 * Double(Float.ulpOfOne)
    let lossBound = isFloat ? drift + 64 * Double(Float.ulpOfOne) : 1e-11
    let weightBound = isFloat ? 16 * drift : 1e-9
    let what = "\(run.placement), \(Scalar.self)"
    for (step, batch) in vectors.batches.enumerated() {
      let loss = try model.trainOnBatch(Samples(batch.tensor(), labels: vectors.labels[step])).loss
      #expect(abs(loss - run.losses.values[step]) <= lossBound, "loss of step \(step), \(what)")
    }
    func compare(_ layer: String, _ name: String, _ arrays: [GoldenVectors.Array], skipping skipped: Int = 0) throws {
      for (index, array) in arrays.enumerated().dropFirst(skipped) {
        GoldenComparison.expect(
          try model.parameter("\(layer)\(index).\(name)").scalars, array, roundings: 0, scale: 1,
          agreement: weightBound, "\(layer)\(index).\(name), \(what)")
      }
    }
    try compare("dense", "kernel", run.kernels)
    // A bias before a normalization has a gradient of rounding errors, which Adam turns into steps (README). The moving
    // mean follows such a bias.
    let drifting = run.placement == "before" ? 2 : 0
    try compare("dense", "bias", run.biases, skipping: isFloat ? drifting : 0)
    try compare("bn", "gamma", run.gammas)
    try compare("bn", "beta", run.betas)
    try compare("bn", "moving_mean", run.movingMeans, skipping: isFloat ? drifting : 0)
    try compare("bn", "moving_variance", run.movingVariances)
    if !isFloat || drifting == 0 {
      GoldenComparison.expect(
        try model.predict(vectors.batches[0].tensor()).scalars, run.inferenceLogits, roundings: 0, scale: 1,
        agreement: 4 * weightBound, "inference, \(what)")
    }
  }

  private func layers(_ vectors: GoldenVectors.TrainingRun, after: Bool) -> [any Layer] {
    var layers: [any Layer] = []
    for (index, units) in [5, 4].enumerated() {
      let normalization = BatchNormalization(
        momentum: .weightOfOld(vectors.momentum), epsilon: vectors.epsilon, name: "bn\(index)")
      layers.append(Dense(units, name: "dense\(index)"))
      layers += after ? [Activation.relu, normalization] : [normalization, Activation.relu]
    }
    return layers + [Dense(3, name: "dense2")]
  }
}
