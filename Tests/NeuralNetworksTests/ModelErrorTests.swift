import Datasets
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Every way to ask for what cannot be: a typed error that says what, where and what to do.
@Suite("Model errors")
struct ModelErrorTests {
  /// Expects `error`, and that its message holds all of `words`.
  private func expect(
    _ error: ModelError, saying words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
  ) {
    #expect(throws: error, sourceLocation: sourceLocation) { try body() }
    for word in words {
      #expect(error.description.contains(word), "\(error.description)", sourceLocation: sourceLocation)
    }
  }

  private func compiled(_ loss: Loss = .sparseCategoricalCrossEntropy(fromLogits: true)) throws -> Sequential<Float> {
    let model = Sequential { Dense(3) }
    try model.compile(loss: loss, threads: 1)
    return model
  }

  private let inputs = Tensor<Float>(shape: [4, 2], repeating: 1)

  @Test("Settings of layers")
  func layers() {
    func build(_ layer: any Layer, _ shape: [Int] = [4]) throws { try Sequential { layer }.build(inputShape: shape) }
    expect(.layer(name: "dense", problem: "units must be in 1 ... 16777216, not 0"), saying: "dense", "units") {
      try build(Dense(0))
    }
    expect(.layer(name: "big", problem: "units must be in 1 ... 16777216, not 16777217"), saying: "'big'") {
      try build(Dense((1 << 24) + 1, name: "big"))
    }
    for rate in [1, -0.1, 2, Double.nan] {
      expect(.layer(name: "dropout", problem: "the dropout rate must be in 0 ..< 1, not \(rate)")) {
        try build(Dropout(rate))
      }
    }
    for axis in [0, 2, -2, 5] {
      expect(
        .layer(
          name: "batch_normalization", problem: "axis \(axis) is not a feature axis of a batch of samples of shape [4]")
      ) { try build(BatchNormalization(axis: axis)) }
    }
    for momentum in [-0.1, 1.1, Double.nan] {
      expect(.layer(name: "batch_normalization", problem: "momentum must be in 0 ... 1, not weightOfOld(\(momentum))"))
      {
        try build(BatchNormalization(momentum: .weightOfOld(momentum)))
      }
    }
    for epsilon in [-1e-3, Double.infinity, Double.nan] {
      expect(
        .layer(name: "batch_normalization", problem: "epsilon must be at least 0 and finite, not \(epsilon)")
      ) { try build(BatchNormalization(epsilon: epsilon)) }
    }
    for slope in [-0.1, Double.infinity, Double.nan] {
      expect(
        .layer(
          name: "leaky_relu", problem: "the parameter of leaky_relu must be at least 0 and finite, not \(slope)")
      ) { try build(Activation.leakyReLU(negativeSlope: slope)) }
      #expect(throws: ModelError.self) { try build(Activation.elu(alpha: slope)) }
    }
    expect(.layer(name: "flatten", problem: "the model computes nothing; add a Dense layer"), saying: "Dense") {
      try build(Flatten())
    }
  }

  @Test("Models: no layers, two names alike, impossible input shapes, built twice")
  func models() throws {
    expect(.empty, saying: "at least one") { try Sequential<Float>(layers: []).build(inputShape: [1]) }
    expect(.duplicateName("a"), saying: "'a'", "another name") {
      try Sequential {
        Dense(1, name: "a")
        Dense(1, name: "a")
      }.build(inputShape: [1])
    }
    expect(.duplicateName("dense"), saying: "dense") {
      try Sequential {
        Dense(1)
        Dense(1, name: "dense")
      }.build(inputShape: [1])
    }
    for shape in [[], [0], [3, -1], [1 << 25], [1 << 20, 1 << 20], [Int.max, Int.max]] {
      #expect(throws: ModelError.self, "\(shape)") { try Sequential { Dense(1) }.build(inputShape: shape) }
    }
    let model = try compiled()
    try model.build(inputShape: [2])
    try model.build(inputShape: [2])
    expect(
      .shape(what: "the input of this model, once built,", expected: [2], got: [3]), saying: "[2]", "[3]"
    ) { try model.build(inputShape: [3]) }
    expect(.shape(what: "the input of this model, once built,", expected: [2], got: [5])) {
      _ = try model.predict(Tensor<Float>.zeros([1, 5]))
    }
  }

  @Test("Not built, not compiled")
  func order() throws {
    let model = Sequential { Dense(3) }
    let samples = try Samples(inputs, labels: [0, 1, 2, 0])
    expect(.notCompiled, saying: "compile(optimizer:loss:)") { try model.fit(samples, verbose: .silent) }
    expect(.notCompiled) { try model.trainOnBatch(samples) }
    expect(.notCompiled) { try model.computeGradients(samples) }
    expect(.notCompiled) { _ = try model.evaluate(samples) }
    expect(.notCompiled) { try model.setLearningRate(1) }
    expect(.notBuilt, saying: "build(inputShape:)") { _ = try model.gradient("dense.kernel") }
    expect(.notBuilt) { _ = try model.weightsSHA256() }
    // Predictions need no more than a shape.
    #expect(try model.predict(inputs).shape == [4, 3])
  }

  @Test("Arguments of compile, fit, evaluate and predict")
  func arguments() throws {
    let model = Sequential { Dense(3) }
    func compile(_ optimizer: any Optimizer, threads: Int? = nil) throws {
      try model.compile(optimizer: optimizer, loss: .meanSquaredError, threads: threads)
    }
    for rate in [-1, Double.nan, .infinity] {
      let expected = ModelError.argument(
        name: "learningRate", problem: "must be at least 0 and finite, not \(rate)")
      for optimizer: any Optimizer in [
        SGD(learningRate: rate), SGD(learningRate: rate, momentum: 0.5), Adam(learningRate: rate),
        AdamW(learningRate: rate), RMSprop(learningRate: rate),
      ] {
        expect(expected, saying: "learningRate") { try compile(optimizer) }
      }
      let model = try compiled()
      expect(expected) { try model.setLearningRate(rate) }
      #expect(model.optimizer?.learningRate == 0.001)
    }
    func share(_ name: String, _ value: Double) -> ModelError {
      .argument(name: name, problem: "must be in 0 ..< 1, not \(value)")
    }
    for value in [-0.1, 1, Double.nan] {
      expect(share("momentum", value)) { try compile(SGD(momentum: value)) }
      expect(share("beta1", value)) { try compile(Adam(beta1: value)) }
      expect(share("beta2", value)) { try compile(AdamW(beta2: value)) }
      expect(share("rho", value)) { try compile(RMSprop(rho: value)) }
      expect(share("momentum", value)) { try compile(RMSprop(momentum: value)) }
    }
    for value in [-0.1, Double.infinity, Double.nan] {
      let problem = "must be at least 0 and finite, not \(value)"
      expect(.argument(name: "epsilon", problem: problem)) { try compile(Adam(epsilon: value)) }
      expect(.argument(name: "epsilon", problem: problem)) { try compile(RMSprop(epsilon: value)) }
      expect(.argument(name: "weightDecay", problem: problem)) { try compile(AdamW(weightDecay: value)) }
    }
    expect(.argument(name: "threads", problem: "must be at least 1, not 0")) { try compile(SGD(), threads: 0) }
    #expect(!model.isCompiled)

    let trained = try compiled()
    let samples = try Samples(inputs, labels: [0, 1, 2, 0])
    expect(.argument(name: "epochs", problem: "must be at least 1, not 0")) { try trained.fit(samples, epochs: 0) }
    let batch = ModelError.argument(name: "batchSize", problem: "must be at least 1, not 0")
    expect(batch) { try trained.fit(samples, batchSize: 0) }
    expect(batch) { _ = try trained.evaluate(samples, batchSize: 0) }
    expect(batch) { _ = try trained.predict(samples, batchSize: 0) }
    for fraction in [-0.5, 1, 0.9999, 1e-9, Double.nan] {
      #expect(throws: ModelError.self, "\(fraction)") {
        try trained.fit(samples[0..<1], validationSplit: fraction, verbose: .silent)
      }
    }
    expect(.argument(name: "validationSplit", problem: "give either this or validationData, not both")) {
      try trained.fit(samples, validationData: samples, validationSplit: 0.5, verbose: .silent)
    }
    expect(.argument(name: "data", problem: "there are no samples")) { try trained.fit(samples[2..<2]) }
  }

  @Test("Labels outside the classes, with the row")
  func labels() throws {
    let model = try compiled()
    for bad in [-1, 3, 4_000_000_000, Int.min] {
      let clamped = Int(Int32(clamping: bad))
      let samples = try Samples(inputs, labels: [0, 1, bad, 2])
      expect(
        .label(row: 2, label: clamped, classes: 3), saying: "row 2", "\(clamped)", "0 ..< 3", "one unit per class"
      ) { try model.fit(samples, verbose: .silent) }
      #expect(throws: ModelError.self) { _ = try model.evaluate(samples) }
      #expect(throws: ModelError.self) { try model.fit(samples[0..<2], validationData: samples, verbose: .silent) }
      // The part that is used is what counts.
      #expect(throws: Never.self) { try model.fit(samples[0..<2], verbose: .silent) }
      #expect(try model.predict(samples).shape == [4, 3])
    }
  }

  @Test("Numbers that are not finite")
  func notFinite() throws {
    for bad in [Float.nan, .infinity, -.infinity] {
      for place in [0, 7, 1000] {
        let count = place < 8 ? 4 : 501
        let broken = Tensor<Float>(shape: [count, 2]) { $0 == place ? bad : 0 }
        let whole = Tensor<Float>.zeros([count, 2])
        expect(.notFinite(what: "the inputs"), saying: "inputs", "finite") { _ = try Samples(broken) }
        expect(.notFinite(what: "the inputs")) {
          _ = try Samples(broken, labels: [Int](repeating: 0, count: count))
        }
        expect(.notFinite(what: "the inputs")) { _ = try Samples(broken, targets: whole) }
        expect(.notFinite(what: "the targets")) { _ = try Samples(whole, targets: broken) }
        expect(.notFinite(what: "the inputs")) { _ = try compiled().predict(broken) }
      }
    }
  }

  @Test("Loss, targets and shapes that do not fit")
  func losses() throws {
    let labelled = try Samples(inputs, labels: [0, 1, 2, 0])
    let valued = try Samples(inputs, targets: .zeros([4, 3]))
    for loss: Loss in [
      .categoricalCrossEntropy(), .binaryCrossEntropy(fromLogits: true), .meanSquaredError,
    ] {
      let problem = "\(loss) needs rows of targets, not labels; use sparseCategoricalCrossEntropy"
      expect(.loss(problem: problem)) { try compiled(loss).fit(labelled, verbose: .silent) }
      #expect(throws: Never.self) { try compiled(loss).trainOnBatch(valued) }
    }
    #expect(throws: ModelError.self) { try compiled().fit(valued, verbose: .silent) }
    expect(.loss(problem: "the data have no targets"), saying: "targets") {
      try compiled().fit(Samples(inputs), verbose: .silent)
    }
    expect(.shape(what: "one sample of the targets", expected: [3], got: [2])) {
      try compiled(.meanSquaredError).fit(Samples(inputs, targets: inputs), verbose: .silent)
    }
    expect(.shape(what: "the first axis of the targets", expected: [4], got: [3])) {
      _ = try Samples(inputs, targets: .zeros([3, 2]))
    }
    expect(.shape(what: "labels", expected: [4], got: [3])) { _ = try Samples(inputs, labels: [0, 1, 2]) }
    #expect(throws: ModelError.self) { _ = try Samples(inputs, labels: []) }
    expect(.shape(what: "labels", expected: [4], got: [8])) {
      try compiled().fit(Samples(inputs, labels: [0, 1, 2, 0, 1, 2, 0, 1]), verbose: .silent)
    }
    #expect(throws: ModelError.self) { _ = try Samples(Tensor<Float>.zeros([4])) }
    #expect(throws: ModelError.self) { _ = try Samples(Tensor<Float>.zeros([0, 4]), labels: [1]) }
    let images = try ImageDataset(
      pixels: [UInt8](repeating: 9, count: 12), labels: [0, 1], height: 2, width: 3, classNames: nil)
    expect(.shape(what: "one sample", expected: [2, 3], got: [7])) { _ = try Samples<Float>(images, shape: [7]) }
    expect(.shape(what: "the scaling", expected: [6], got: [1])) {
      _ = try Samples<Float>(images, scaling: .perFeature(scale: [1], offset: [0]))
    }
  }
}
