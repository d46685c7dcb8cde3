import Lamina
import Training

/// What the paper leaves open, for both networks alike.
public struct CovariateShiftChoice: Sendable, Equatable, Codable {
  /// Step size of plain SGD.
  public var learningRate: Double
  /// Standard deviation of the first weights; biases begin at 0.
  public var deviation: Double

  /// A choice.
  public init(learningRate: Double, deviation: Double) {
    self.learningRate = learningRate
    self.deviation = deviation
  }
}

/// What was measured of one network at one step.
struct CoursePoint: Sendable, Equatable {
  /// Updates made.
  var step: Int
  /// Share of the images judged by that are answered right.
  var accuracy: Double
  /// Percentiles of the inputs to each sigmoid of the last hidden layer; empty where not asked for.
  var units: [Percentiles]
}

/// How one network's training went.
struct Course: Sendable, Equatable {
  /// First to last step.
  var points: [CoursePoint]
  /// Seconds of training, without measuring.
  var trainingSeconds: Double

  /// The percentiles of one unit from first to last.
  func track(unit: Int) -> [Percentiles] { points.map { $0.units[unit] } }

  /// The drift of each unit.
  var drifts: [Double] {
    let units = points.first?.units.count ?? 0
    return (0..<units).map { drift(of: track(unit: $0)) }
  }
}

/// One of the two networks of section 4.1 of Ioffe and Szegedy 2015, on its way.
struct CovariateShiftNetwork {
  private let model: Sequential<Float>
  private let trainer: StepTrainer<Float>
  private let judged: Samples<Float>
  private let probe: Samples<Float>
  private let population: Samples<Float>?
  private let batchSize: Int
  private let probedLayer: String

  /// Images whose sigmoid inputs are looked at, at most.
  static let probeCount = 1_000
  /// Batches that the population statistics are taken over before each judgement.
  static let populationBatches = 100

  /// The layers: `normalized` puts batch normalization between each hidden product and its sigmoid.
  static func layers(hidden: [Int], classes: Int, normalized: Bool, deviation: Double) -> [any Layer] {
    let weights = Initializer.normal(mean: 0, standardDeviation: deviation)
    var layers: [any Layer] = []
    for (index, width) in hidden.enumerated() {
      // β takes the place of the bias, which the subtraction of the mean would cancel.
      layers.append(Dense(width, useBias: !normalized, kernelInitializer: weights, name: "hidden_\(index + 1)"))
      if normalized { layers.append(BatchNormalization(name: "normalized_\(index + 1)")) }
      layers.append(Activation.sigmoid)
    }
    return layers + [Dense(classes, activation: .softmax, kernelInitializer: weights, name: "output")]
  }

  /// A network at its first step, to be judged by `judged`.
  ///
  /// - Throws: `ModelError` where there are fewer images than a batch has.
  init(
    normalized: Bool, hidden: [Int], choice: CovariateShiftChoice, training: Samples<Float>, judged: Samples<Float>,
    classes: Int, batchSize: Int, threads: Int, seed: UInt64
  ) throws {
    model = Sequential(
      seed: seed,
      layers: Self.layers(hidden: hidden, classes: classes, normalized: normalized, deviation: choice.deviation))
    try model.compile(
      optimizer: SGD(learningRate: choice.learningRate), loss: .sparseCategoricalCrossEntropy(), threads: threads)
    trainer = try StepTrainer(model, data: training, batchSize: batchSize)
    probedLayer = "\(normalized ? "normalized" : "hidden")_\(hidden.count)"
    self.judged = judged
    self.batchSize = batchSize
    probe = judged[0..<min(Self.probeCount, judged.count)]
    population = normalized ? training[0..<min(Self.populationBatches * batchSize, training.count)] : nil
  }

  /// Trains to the last of `steps`, measuring at each.
  ///
  /// Accuracy is that of inference by the population statistics of algorithm 2, taken anew for it. The inputs to the
  /// sigmoids are those of training: one batch of held-out images, normalized by its own statistics.
  func course(over steps: [Int], measuringUnits: Bool) throws -> Course {
    var training = Duration.zero
    var points: [CoursePoint] = []
    var done = 0
    for step in steps {
      let before = ContinuousClock.now
      try trainer.run(steps: step - done)
      training += ContinuousClock.now - before
      done = step
      if let population { try model.recalibrate(on: population, batchSize: batchSize) }
      points.append(
        CoursePoint(
          step: step, accuracy: try model.evaluate(judged, batchSize: 500).accuracy ?? 0,
          units: measuringUnits ? try unitPercentiles() : []))
    }
    return Course(points: points, trainingSeconds: training / .seconds(1))
  }

  private func unitPercentiles() throws -> [Percentiles] {
    let inputs = try model.activations(of: probedLayer, on: probe, mode: .training)
    let units = inputs.shape[1]
    let scalars = inputs.scalars
    return (0..<units).map { unit in
      Percentiles(of: (0..<probe.count).map { Double(scalars[$0 * units + unit]) })
    }
  }
}
