import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// A hundred training steps against PyTorch and Keras, each in its own convention and with its own optimizers.
@Suite("Golden trajectories")
struct GoldenTrajectoryTests {
  static let vectors = Result { try GoldenVectors.load("trajectories", as: GoldenVectors.Trajectories.self) }

  @Test("Losses and weights over a hundred steps, to 1e-9 in Double", arguments: 0..<8)
  func follows(index: Int) throws {
    let runs = try Self.vectors.get().runs
    #expect(runs.count == 8)
    let run = runs[index]
    let isPyTorch = run.framework == "pytorch"
    let isAfter = run.placement == "after"
    func normalization(_ name: String) -> BatchNormalization {
      BatchNormalization(convention: isPyTorch ? .pytorch : .keras, name: name)
    }
    let widths = [12, 33, 17, 5]
    var layers: [any Layer] = []
    for number in 0..<2 {
      layers.append(Dense(widths[number + 1], useBias: isAfter, name: "dense\(number)"))
      let pair: [any Layer] = [Activation.relu, normalization("bn\(number)")]
      layers += isAfter ? pair : pair.reversed()
    }
    layers.append(Dense(5, name: "dense2"))
    let model = Sequential<Double>(layers: layers)
    let optimizer: any Optimizer =
      switch (run.optimizer, isPyTorch) {
      case ("adam", true): Adam(learningRate: 0.01, epsilon: 1e-8, correctsEpsilon: true)
      case ("adam", false): Adam(learningRate: 0x1p-7, beta1: 0.875, beta2: 0.9921875, epsilon: 0x1p-20)
      case (_, true): SGD(learningRate: 0.03, momentum: 0.9)
      case (_, false): SGD(learningRate: 0x1p-5, momentum: 0.875)
      }
    try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
    try model.build(inputShape: [12])
    for (number, scale) in [8.0, 16, 8].enumerated() {
      let shape = [widths[number], widths[number + 1]]
      let values = GoldenVectors.hashed(seed: run.seed + number, count: shape.reduce(1, *))
      try model.setParameter("dense\(number).kernel", to: Tensor(shape: shape) { values[$0] / scale })
    }
    var losses: [Double] = []
    for step in 0..<100 {
      let values = GoldenVectors.hashed(seed: run.seed + 10 + step, count: 16 * 12)
      let labels = (0..<16).map { row in
        (1..<5).reduce(0) { values[row * 12 + $1] > values[row * 12 + $0] ? $1 : $0 }
      }
      losses.append(
        try model.trainOnBatch(Samples(Tensor(shape: [16, 12]) { values[$0] }, labels: labels)).loss)
    }
    let what = "\(run.framework), \(run.placement), \(run.optimizer)"
    func expect(_ values: [Double], _ golden: GoldenVectors.Array, _ name: String) {
      let count = golden.values.count
      let chosen = count == values.count ? values : (0..<count).map { values[$0 * (values.count - 1) / (count - 1)] }
      GoldenComparison.expect(chosen, golden, roundings: 0, agreement: 1e-9, "\(name), \(what)")
    }
    expect(losses, run.losses, "losses")
    var names = (0..<3).map { "dense\($0).kernel" }
    for number in 0..<2 {
      names += ["gamma", "beta", "moving_mean", "moving_variance"].map { "bn\(number).\($0)" }
    }
    #expect(names.count == run.final.count)
    for (name, golden) in zip(names, run.final) { expect(try model.parameter(name).scalars, golden, name) }
    // The run has learned: what it follows is no standstill.
    #expect(losses[99] < 0.8 * losses[0])
  }
}
