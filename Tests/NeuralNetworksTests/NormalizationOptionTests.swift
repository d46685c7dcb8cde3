import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Batch normalization's gradients under its options, weights, ghost batches, renormalization, penalties and switches.
@Suite("Options of batch normalization")
struct NormalizationOptionTests {
  static let layers: [(String, BatchNormalization)] = [
    ("pytorch", BatchNormalization(convention: .pytorch)),
    ("paper", BatchNormalization(convention: .paper)),
    ("not affine", BatchNormalization(affine: false)),
    ("no running statistics", BatchNormalization(trackRunningStatistics: false)),
    ("l1", BatchNormalization(betaRegularizer: .l1(0.3), gammaRegularizer: .l1(0.2))),
    ("l2", BatchNormalization(betaRegularizer: .l2(0.3), gammaRegularizer: .l1l2(l1: 0.1, l2: 0.2))),
    ("ghosts of 3", BatchNormalization(virtualBatchSize: 3)),
    ("ghosts of 2, penalties", BatchNormalization(gammaRegularizer: .l2(0.5), virtualBatchSize: 2)),
    (
      "clipped renormalization",
      // r and d are at their bounds, whatever the direction: constants, as in the backward pass.
      BatchNormalization(
        movingMeanInitializer: .constant(40),
        renormalization: BatchRenormalization(rmax: .constant(0.75), rmin: 0.75, dmax: .constant(0.5), weightOfOld: 1))
    ),
  ]

  @Test("Finite differences, with a ReLU before and after", arguments: layers.indices)
  func gradients(index: Int) throws {
    let (_, layer) = Self.layers[index]
    for rows in [2, 7, 33] {
      for chain: [any Layer] in [
        [Dense(6), layer, Dense(3)], [Dense(6, activation: .relu), layer, Dense(3)],
        [Dense(6), layer, Activation.relu, Dense(3)],
      ] {
        try GradientCheck(layers: chain, inputShape: [4], rows: rows, loss: .meanSquaredError).run()
      }
    }
    try forEachInnerAxis(layer, rows: 6) { try $0.run() }
  }

  /// Calls `body` with a check of `layer` on the first and middle axes of batches of rank 3, 4 and 5.
  private func forEachInnerAxis(
    _ layer: BatchNormalization, rows: Int, _ body: (inout GradientCheck) throws -> Void
  ) throws {
    var inner = layer
    for (shape, axes) in [([3, 4], 1...2), ([2, 3, 3], 1...2), ([2, 1, 3, 2], 1...3), ([9, 2, 1], 1...2)] {
      for axis in axes {
        inner.axis = axis
        var check = GradientCheck(
          layers: [inner, Activation.tanh, Flatten(), Dense(2)], inputShape: shape, rows: rows, loss: .meanSquaredError)
        try body(&check)
      }
    }
  }

  @Test("Finite differences by given statistics, which lack the mean terms")
  func givenStatistics() throws {
    let layer = BatchNormalization(
      movingMeanInitializer: .constant(0.5), movingVarianceInitializer: .constant(2), gammaRegularizer: .l2(0.1),
      name: "bn")
    for rows in [1, 2, 33] {
      for chain: [any Layer] in [
        [Dense(6), layer, Dense(3)], [Dense(6, activation: .relu), layer, Dense(3)],
        [Dense(6), layer, Activation.relu, Dense(3)],
      ] {
        var check = GradientCheck(layers: chain, inputShape: [4], rows: rows, loss: .meanSquaredError)
        check.prepare = { model in
          try model.configureNormalization("bn") {
            $0.trainingStatistics = .running
            $0.updatesStatistics = false
          }
        }
        try check.run()
      }
    }
    try forEachInnerAxis(layer, rows: 3) { check in
      check.prepare = { model in
        try model.configureNormalization("bn") {
          $0.trainingStatistics = .running
          $0.updatesStatistics = false
        }
      }
      try check.run()
    }
  }

  // MARK: Weights

  @Test(
    "Finite differences with weights in the moments",
    arguments: [
      BatchNormalization(), BatchNormalization(convention: .pytorch, gammaRegularizer: .l2(0.1)),
      BatchNormalization(
        movingMeanInitializer: .constant(40),
        renormalization: BatchRenormalization(rmax: .constant(0.75), rmin: 0.75, dmax: .constant(0.5), weightOfOld: 1)),
    ])
  func weights(layer: BatchNormalization) throws {
    for rows in [2, 7, 33] {
      for chain: [any Layer] in [
        [Dense(6), layer, Dense(3)], [Dense(6, activation: .relu), layer, Dense(3)],
        [Dense(6), layer, Activation.relu, Dense(3)],
      ] {
        var check = GradientCheck(layers: chain, inputShape: [4], rows: rows, loss: .meanSquaredError)
        check.weights = (0..<rows).map { $0 == 2 ? 0 : 0.5 + Double($0 % 3) }
        try check.run()
        check.inputShape = [3, 4]
        try check.run()
      }
    }
    try forEachInnerAxis(layer, rows: 5) { check in
      check.weights = [1, 0.5, 0, 2, 1.5]
      try check.run()
    }
  }

  @Test("Equal weights are none; a zero takes a row out of the statistics; too few are none at all")
  func weightedStatistics() throws {
    func trained(_ rows: Range<Int>, _ weights: [Double]?) throws -> Sequential<Double> {
      let model = Sequential<Double>(layers: [BatchNormalization(name: "bn"), Dense(2)])
      try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
      try model.build(inputShape: [3])
      var generator = Philox(seed: 1, purpose: "weights")
      let samples = try randomSamples(&generator, count: 9, model: model, loss: .meanSquaredError)[rows]
      try model.trainOnBatch(try weights.map { try samples.weightingStatistics(by: $0) } ?? samples)
      return model
    }
    func statistics(_ model: Sequential<Double>) throws -> [Double] {
      try model.parameter("bn.moving_mean").scalars + model.parameter("bn.moving_variance").scalars
    }
    let plain = try statistics(trained(0..<9, nil))
    for weight in [1, 0.25] {
      let weighted = try statistics(trained(0..<9, [Double](repeating: weight, count: 9)))
      for (one, other) in zip(weighted, plain) { #expect(abs(one - other) <= 64 * 1.0.ulp) }
    }
    let seven = try statistics(trained(0..<7, nil))
    let masked = try statistics(trained(0..<9, [1, 1, 1, 1, 1, 1, 1, 0, 0]))
    for (one, other) in zip(masked, seven) { #expect(abs(one - other) <= 64 * 1.0.ulp) }
    #expect(try statistics(trained(0..<9, [0, 0, 0, 0, 0, 0, 0, 0, 1])) == [0, 0, 0, 1, 1, 1])
    #expect(throws: ModelError.self) { try trained(0..<9, [1]) }
    #expect(throws: ModelError.self) { try trained(0..<2, [1, -1]) }
    // Weights of one batch are not those of the next.
    let model = try trained(0..<9, [1, 1, 0, 0, 0, 0, 0, 0, 0])
    let before = try statistics(model)
    var generator = Philox(seed: 2, purpose: "weights")
    let x = Tensor<Double>(shape: [9, 3]) { _ in generator.nextNormal() }
    try model.trainOnBatch(Samples(x, targets: .zeros([9, 2])))
    for column in 0..<3 {
      let mean = (0..<9).reduce(0) { $0 + x[$1, column] } / 9
      let expected = 0.99 * before[column] + 0.01 * mean
      #expect(try abs(statistics(model)[column] - expected) <= 64 * 1.0.ulp)
    }
    let ghosts = Sequential<Double>(layers: [BatchNormalization(virtualBatchSize: 4)])
    try ghosts.compile(optimizer: SGD(), loss: .meanSquaredError)
    #expect(throws: ModelError.self) {
      try ghosts.trainOnBatch(
        Samples(.zeros([8, 3]), targets: .zeros([8, 3])).weightingStatistics(by: [Double](repeating: 1, count: 8)))
    }
  }

  // MARK: Equalities

  /// Weights after three steps, and the outputs in inference.
  private func threeSteps(
    _ layer: BatchNormalization, optimizer: any Optimizer = SGD(learningRate: 0.1), rows: Int = 12,
    prepare: (Sequential<Float>) throws -> Void = { _ in }
  ) throws -> (weights: String, outputs: [Float], model: Sequential<Float>) {
    var layer = layer
    layer.name = "bn"
    let model = Sequential<Float>(layers: [Dense(70, activation: .relu), layer, Dense(3)])
    try model.compile(optimizer: optimizer, loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: [8])
    try prepare(model)
    var generator = Philox(seed: 9, purpose: "equalities")
    var samples: Samples<Float>?
    for _ in 0..<3 {
      let batch = try randomSamples(&generator, count: rows, model: model, loss: .meanSquaredError)
      try model.trainOnBatch(batch)
      samples = batch
    }
    return (try model.weightsSHA256(), try model.predict(#require(samples)).scalars, model)
  }

  @Test("Ghost batches of the full size, or larger, are plain to the bit", arguments: [7, 12, 13, 64])
  func fullGhostBatch(size: Int) throws {
    let plain = try threeSteps(BatchNormalization())
    let ghost = try threeSteps(BatchNormalization(virtualBatchSize: size))
    #expect(plain.weights == ghost.weights && plain.outputs == ghost.outputs)
    #expect(try threeSteps(BatchNormalization(virtualBatchSize: 6)).weights != plain.weights)
  }

  @Test("Ghost batches are normalized each by its own statistics")
  func ghostGroups() throws {
    // 11 rows in groups of at least 4: rows 0 ..< 5 and 5 ..< 11.
    var generator = Philox(seed: 2, purpose: "ghosts")
    let x = Tensor<Double>(shape: [11, 3]) { _ in generator.nextNormal() }
    func outputs(_ layer: BatchNormalization, _ rows: Range<Int>) throws -> [Double] {
      let model = Sequential<Double>(layers: [layer])
      try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
      try model.build(inputShape: [3])
      let plan = try model.plan(samples: rows.count)
      let part = Tensor<Double>(shape: [rows.count, 3]) { x[flat: rows.lowerBound * 3 + $0] }
      try model.computeGradients(Samples(part, targets: .zeros([rows.count, 3])))
      let view = plan.output(samples: rows.count)
      return (0..<rows.count * 3).map { view[$0 / 3, $0 % 3] }
    }
    let ghost = try outputs(BatchNormalization(virtualBatchSize: 4), 0..<11)
    let parts = try outputs(BatchNormalization(), 0..<5) + outputs(BatchNormalization(), 5..<11)
    #expect(ghost == parts)
  }

  @Test("Renormalization with r = 1 and d = 0 trains as plain batch normalization does, to the bit")
  func neutralRenormalization() throws {
    let neutral = BatchRenormalization(rmax: .constant(1), rmin: 1, dmax: .constant(0))
    let plain = try threeSteps(BatchNormalization()).model
    // More parameters draw their first values from other streams: the kernels are made the same.
    func sameStart(_ model: Sequential<Float>) throws {
      for name in ["dense.kernel", "dense_1.kernel"] {
        let start = try Self.initial(name)
        try model.setParameter(name, to: Tensor(shape: model.parameter(name).shape, scalars: start))
      }
    }
    let renormalized = try threeSteps(BatchNormalization(renormalization: neutral), prepare: sameStart).model
    for name in plain.parameters.map(\.name) where name != "bn.moving_variance" && name != "bn.moving_mean" {
      #expect(try plain.parameter(name) == renormalized.parameter(name), "\(name)")
    }
    // The schedule of the paper starts with these bounds.
    let schedule = BatchNormalization(renormalization: BatchRenormalization(rmin: 1))
    let paper = try threeSteps(schedule, prepare: sameStart).model
    #expect(try paper.parameter("bn.gamma") == renormalized.parameter("bn.gamma"))
  }

  @Test("Renormalization without clipping normalizes by its averages, as inference does")
  func unclippedRenormalization() throws {
    let free = BatchRenormalization(rmax: .constant(1e9), dmax: .constant(1e9), weightOfOld: 0.75)
    let layer = BatchNormalization(momentum: .weightOfOld(0.75), renormalization: free, name: "bn")
    let model = Sequential<Double>(layers: [layer])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
    try model.build(inputShape: [5])
    var generator = Philox(seed: 4, purpose: "renorm")
    for step in 0..<4 {
      let x = Tensor<Double>(shape: [9, 5]) { _ in 3 + 2 * generator.nextNormal() }
      let expected = try model.predict(x).scalars
      let plan = try model.plan(samples: 9)
      try model.computeGradients(Samples(x, targets: .zeros([9, 5])))
      let view = plan.output(samples: 9)
      // The first deviation is the root of the first variance without ε (Keras's rule): they agree from then on.
      let bound = step == 0 ? 5e-3 : 64 * 8.0.ulp
      for index in 0..<45 { #expect(abs(view[index / 5, index % 5] - expected[index]) <= bound) }
    }
  }

  @Test("A ramp")
  func ramp() {
    let ramp = BatchRenormalization.Ramp(from: 1, to: 3, start: 10, end: 20)
    #expect([0, 10, 15, 20, 99].map(ramp.value(at:)) == [1, 1, 2, 3, 3])
    #expect(BatchRenormalization.Ramp.constant(2).value(at: 0) == 2)
  }

  // MARK: Penalties and constraints

  @Test("The loss includes the penalties, in training and evaluation")
  func penalties() throws {
    var layer = BatchNormalization(gammaInitializer: .constant(-2), name: "bn")
    layer.betaInitializer = .constant(0.5)
    func losses(_ layer: BatchNormalization) throws -> [Double] {
      let model = Sequential<Double>(layers: [Dense(70), layer, Dense(3)])
      try model.compile(optimizer: SGD(learningRate: 0), loss: .meanSquaredError, threads: 2)
      try model.build(inputShape: [4])
      var generator = Philox(seed: 3, purpose: "penalties")
      let samples = try randomSamples(&generator, count: 40, model: model, loss: .meanSquaredError)
      return [
        try model.evaluate(samples).loss, try model.trainOnBatch(samples).loss,
        try model.fit(samples, batchSize: 16, shuffle: false, verbose: .silent).loss[0],
      ]
    }
    let plain = try losses(layer)
    layer.gammaRegularizer = .l1l2(l1: 0.01, l2: 0.001)
    layer.betaRegularizer = .l2(0.1)
    let penalty = 70 * (0.01 * 2 + 0.001 * 4) + 70 * 0.1 * 0.25
    for (one, other) in zip(plain, try losses(layer)) { #expect(abs(other - one - penalty) < 1e-12) }
  }

  @Test("Constraints hold after every update")
  func constraints() throws {
    let many = SGD(learningRate: 1)
    let (_, _, free) = try threeSteps(BatchNormalization(), optimizer: many)
    #expect(try free.parameter("bn.beta").scalars.contains { $0 < 0 })
    let (_, _, held) = try threeSteps(
      BatchNormalization(betaConstraint: .nonNegative, gammaConstraint: .unitNorm), optimizer: many)
    #expect(try held.parameter("bn.beta").scalars.allSatisfy { $0 >= 0 })
    func norm(_ model: Sequential<Float>, _ name: String) throws -> Double {
      try model.parameter(name).scalars.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    #expect(abs(try norm(held, "bn.gamma") - 1) < 70 * Double(Float.ulpOfOne))
    let (_, _, bounded) = try threeSteps(BatchNormalization(gammaConstraint: .maxNorm(2)), optimizer: many)
    #expect(abs(try norm(bounded, "bn.gamma") - 2) < 2 * 70 * Double(Float.ulpOfOne))
    let (inside, _, _) = try threeSteps(BatchNormalization(gammaConstraint: .maxNorm(1e6)), optimizer: many)
    #expect(try inside == free.weightsSHA256())
  }

  // MARK: Switches

  @Test(
    "γ and β that don't learn rest, and the rest learns as before",
    arguments: [
      SGD(learningRate: 0.1) as any Optimizer, SGD(learningRate: 0.1, momentum: 0.9), Adam(), AdamW(),
    ])
  func frozenParameters(optimizer: any Optimizer) throws {
    let (_, _, free) = try threeSteps(BatchNormalization(), optimizer: optimizer)
    let (_, _, frozen) = try threeSteps(BatchNormalization(), optimizer: optimizer) { model in
      try model.configureNormalization { $0.learnsParameters = false }
    }
    #expect(try frozen.parameter("bn.gamma").scalars.allSatisfy { $0 == 1 })
    #expect(try frozen.parameter("bn.beta").scalars.allSatisfy { $0 == 0 })
    #expect(try free.parameter("bn.gamma").scalars.allSatisfy { $0 != 1 })
    for name in ["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"] {
      let (one, other) = (try frozen.parameter(name).scalars, try free.parameter(name).scalars)
      let start = try Self.initial(name)
      #expect(zip(one, start).contains { $0 != $1 }, "\(name) moved")
      #expect(zip(one, other).allSatisfy { abs($0 - $1) < 0.1 }, "\(name)")
    }
  }

  private static func initial(_ name: String) throws -> [Float] {
    let model = Sequential<Float>(layers: [Dense(70, activation: .relu), BatchNormalization(name: "bn"), Dense(3)])
    try model.build(inputShape: [8])
    return try model.parameter(name).scalars
  }

  @Test("Frozen while compiled, from the next step on, then free again")
  func switching() throws {
    let (_, _, model) = try threeSteps(BatchNormalization())
    var generator = Philox(seed: 1, purpose: "switching")
    let samples = try randomSamples(&generator, count: 12, model: model, loss: .meanSquaredError)
    let names = ["bn.gamma", "bn.beta", "bn.moving_mean", "bn.moving_variance"]
    let before = try names.map { try model.parameter($0) }
    try model.configureNormalization("bn") { $0 = .frozen }
    #expect(try model.normalizationSwitches("bn") == .frozen)
    let expected = try model.evaluate(samples, batchSize: 12).loss
    #expect(try abs(model.trainOnBatch(samples).loss - expected) < 1e-5)
    // A single row has all it needs.
    try model.trainOnBatch(samples[0..<1])
    #expect(try names.map { try model.parameter($0) } == before)
    try model.configureNormalization { $0.updatesStatistics = true }
    try model.trainOnBatch(samples)
    let after = try names.map { try model.parameter($0) }
    #expect(after[0] == before[0] && after[1] == before[1] && after[2] != before[2] && after[3] != before[3])
    #expect(throws: ModelError.singleValue(layer: "bn")) { try model.trainOnBatch(samples[0..<1]) }
    try model.configureNormalization {
      $0 = NormalizationSwitches()
      $0.updatesStatistics = false
    }
    try model.trainOnBatch(samples)
    let last = try names.map { try model.parameter($0) }
    #expect(last[0] != after[0] && last[1] != after[1] && last[2] == after[2] && last[3] == after[3])
  }

  @Test("Switches that make no sense are refused, and change nothing")
  func badSwitches() throws {
    let model = Sequential<Float>(layers: [
      BatchNormalization(name: "a"), BatchNormalization(trackRunningStatistics: false, name: "b"),
    ])
    #expect(throws: ModelError.notBuilt) { try model.configureNormalization { $0 = .frozen } }
    try model.build(inputShape: [3])
    #expect(model.normalizationNames == ["a", "b"])
    #expect(throws: ModelError.unknownNormalization("c", known: ["a", "b"])) {
      try model.configureNormalization("c") { $0 = .frozen }
    }
    #expect(throws: ModelError.self) { try model.configureNormalization { $0.trainingStatistics = .running } }
    #expect(try model.normalizationSwitches("a") == NormalizationSwitches())
  }

  // MARK: No running statistics

  @Test("Without running statistics inference uses the batch's, and refuses a single row")
  func withoutRunningStatistics() throws {
    let model = Sequential<Double>(layers: [BatchNormalization(trackRunningStatistics: false, name: "bn")])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 1)
    try model.build(inputShape: [4])
    #expect(model.parameters.map(\.name) == ["bn.gamma", "bn.beta"])
    var generator = Philox(seed: 1, purpose: "none")
    let samples = try randomSamples(&generator, count: 9, model: model, loss: .meanSquaredError)
    let plan = try model.plan(samples: 9)
    try model.computeGradients(samples)
    let view = plan.output(samples: 9)
    let training = (0..<36).map { view[$0 / 4, $0 % 4] }
    #expect(try model.predict(samples).scalars == training)
    #expect(throws: ModelError.singleValue(layer: "bn")) { try model.predict(samples[0..<1]) }
    #expect(throws: ModelError.singleValue(layer: "bn")) { try model.evaluate(samples, batchSize: 4) }
  }

  @Test(
    "Bad settings",
    arguments: [
      BatchNormalization(gammaRegularizer: .l1(-1)), BatchNormalization(betaRegularizer: .l1l2(l1: 0, l2: .nan)),
      BatchNormalization(betaConstraint: .maxNorm(0)), BatchNormalization(virtualBatchSize: 1),
      BatchNormalization(renormalization: BatchRenormalization(), virtualBatchSize: 4),
      BatchNormalization(convention: .pytorch, renormalization: BatchRenormalization()),
      BatchNormalization(trackRunningStatistics: false, renormalization: BatchRenormalization()),
      BatchNormalization(renormalization: BatchRenormalization(rmax: .constant(1), rmin: 2)),
      BatchNormalization(momentum: .weightOfNew(2)),
    ])
  func badSettings(layer: BatchNormalization) {
    #expect(throws: ModelError.self) { try Sequential<Float>(layers: [layer]).build(inputShape: [3]) }
  }
}
