import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing

@testable import Training

/// A step in which a number is not finite leaves no trace, and the training goes on.
@Suite struct NonFiniteStepTests {
  /// Where the number is put that is not finite.
  enum Poison: CaseIterable {
    case notANumber, infinity, largeInput, target
  }

  static let optimizers: [any Optimizer] = [
    SGD(), SGD(learningRate: 0.1, momentum: 0.9, nesterov: true), Adam(), AdamW(), RMSprop(momentum: 0.5),
    RMSprop(centered: true),
  ]

  private func network<Scalar: NetworkScalar>(
    _ optimizer: any Optimizer, _ policy: NonFinitePolicy, threads: Int, as _: Scalar.Type = Scalar.self
  ) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(layers: [
      Dense(100, activation: .relu), BatchNormalization(), Dropout(0.2), Dense(65, useBias: false),
      BatchNormalization(), Activation.relu, Dense(3),
    ])
    try model.compile(optimizer: optimizer, loss: .meanSquaredError, threads: threads, nonFinite: policy)
    return model
  }

  /// 48 rows with three numbers as targets; `row` is poisoned.
  private func data<Scalar: NetworkScalar>(
    _ poison: Poison?, row: Int = 37, as _: Scalar.Type = Scalar.self
  ) -> Samples<Scalar> {
    let (inputs, labels) = Fixtures.points(count: 48, as: Scalar.self)
    let bad = Tensor<Scalar>(shape: inputs.shape) { index in
      guard index == row * 8 + 5 else { return inputs.scalars[index] }
      return switch poison {
      case .notANumber: .nan
      case .infinity: -.infinity
      case .largeInput: .greatestFiniteMagnitude
      case .target, nil: inputs.scalars[index]
      }
    }
    let targets = Tensor<Scalar>(shape: [48, 3]) { index in
      poison == .target && index == row * 3 + 1 ? .nan : labels[index / 3] == index % 3 ? 1 : 0
    }
    return Samples(unchecked: bad, targets: .values(targets))
  }

  /// All that a step may change.
  private func bits<Scalar: NetworkScalar>(_ model: Sequential<Scalar>) throws -> [[Scalar]] {
    try model.parameters.map { try model.parameter($0.name).scalars }
  }

  private func same<Scalar: NetworkScalar>(_ a: [[Scalar]], _ b: [[Scalar]]) -> Bool {
    zip(a, b).allSatisfy { x, y in
      x.withUnsafeBytes { x in y.withUnsafeBytes { y in x.elementsEqual(y) } }
    }
  }

  @Test(arguments: Poison.allCases, [1, 2, 3])
  func poisonedBatchIsSkipped(poison: Poison, threads: Int) throws {
    for optimizer in Self.optimizers {
      try skips(poison, optimizer, threads, as: Float.self)
      try skips(poison, optimizer, threads, as: Double.self)
    }
  }

  /// Six batches of eight with the fifth poisoned, against the five good ones.
  private func skips<Scalar: NetworkScalar>(
    _ poison: Poison, _ optimizer: any Optimizer, _ threads: Int, as _: Scalar.Type
  ) throws {
    let model: Sequential<Scalar> = try network(optimizer, .rollBack, threads: threads)
    let history = try model.fit(data(poison), epochs: 2, batchSize: 8, shuffle: false, verbose: .silent)
    #expect(history.skippedSteps.count == 2, "\(optimizer) \(poison)")
    for (epoch, step) in history.skippedSteps.enumerated() {
      #expect(step.epoch == epoch && step.batch == 4 && step.rows == Array(32..<40))
      switch poison {
      case .notANumber, .infinity: #expect(step.place == .inputs)
      case .target: #expect(step.place == .targets && !step.loss.isFinite)
      case .largeInput: #expect(step.layer != nil, "\(step)")
      }
    }
    #expect(history.loss.allSatisfy(\.isFinite) && model.stepCount == 10)

    // Only moments tell whether a step left a trace in them: train on, beside a model that never met the batch.
    let twin: Sequential<Scalar> = try network(optimizer, .rollBack, threads: threads)
    let good = data(nil, as: Scalar.self)
    for _ in 0..<2 {
      for start in [0, 8, 16, 24, 40] {
        try twin.fit(good[start..<start + 8], batchSize: 8, shuffle: false, verbose: .silent)
      }
    }
    #expect(same(try bits(model), try bits(twin)), "\(optimizer) \(poison) \(Scalar.self)")
    for each in [model, twin] { try each.fit(good, batchSize: 8, shuffle: false, verbose: .silent) }
    #expect(same(try bits(model), try bits(twin)))
  }

  @Test(
    arguments: [Double.nan, .infinity, -.infinity], ["dense.kernel", "dense_1.kernel", "batch_normalization.beta"])
  func poisonedWeightStays(value: Double, name: String) throws {
    let model: Sequential<Float> = try network(Adam(), .rollBack, threads: 2)
    let good = data(nil, as: Float.self)
    try model.fit(good, batchSize: 8, verbose: .silent)
    let sound = try model.parameter(name)
    try model.setParameter(name, to: Tensor(shape: sound.shape) { $0 == 7 ? Float(value) : sound.scalars[$0] })
    let before = try bits(model)
    let history = try model.fit(good, batchSize: 16, shuffle: false, verbose: .silent)
    #expect(same(try bits(model), before))
    #expect(history.skippedSteps.count == 3)
    #expect(history.skippedSteps.allSatisfy { $0.place == .parameter(name) })
    // Mended, it learns again.
    try model.setParameter(name, to: sound)
    #expect(try model.fit(good, batchSize: 16, verbose: .silent).skippedSteps.isEmpty)
    #expect(!same(try bits(model), before))
  }

  @Test func overflowOfTheUpdateIsUndone() throws {
    for optimizer in [SGD(learningRate: 1e38), SGD(learningRate: 1e38, momentum: 0.9), Adam(epsilon: 0)]
      as [any Optimizer]
    {
      let model: Sequential<Float> = try network(optimizer, .rollBack, threads: 2)
      let good = data(nil, as: Float.self)
      try model.build(inputShape: [8])
      // Gradients beyond 4 times a rate of 1e38 overflow.
      let bias = try model.parameter("dense_2.bias")
      try model.setParameter("dense_2.bias", to: Tensor(shape: bias.shape) { _ in 1e3 })
      var before = try bits(model)
      var undone = 0
      for start in stride(from: 0, to: 48, by: 8) {
        let history = try model.fit(good[start..<start + 8], batchSize: 8, shuffle: false, verbose: .silent)
        let after = try bits(model)
        #expect(after.allSatisfy { $0.allSatisfy(\.isFinite) }, "\(optimizer)")
        #expect(same(after, before) == !history.skippedSteps.isEmpty)
        undone += history.skippedSteps.count
        before = after
      }
      #expect(undone > 0, "\(optimizer)")
    }
  }

  @Test func throwNamesTheBatch() throws {
    let model: Sequential<Float> = try network(Adam(), .throw, threads: 2)
    let twin: Sequential<Float> = try network(Adam(), .ignore, threads: 1)
    let bad = data(.infinity, row: 20, as: Float.self)
    #expect {
      try model.fit(bad, epochs: 3, batchSize: 8, shuffle: false, verbose: .silent)
    } throws: { error in
      guard let step = error as? NonFiniteStep else { return false }
      return step.epoch == 0 && step.batch == 2 && step.rows == Array(16..<24) && step.place == .inputs
        && "\(step)".contains("batch 2") && "\(step)".contains("16, 17")
    }
    try twin.fit(data(nil, as: Float.self)[0..<16], batchSize: 8, shuffle: false, verbose: .silent)
    #expect(same(try bits(model), try bits(twin)) && model.stepCount == twin.stepCount)
    #expect(throws: NonFiniteStep.self) { try model.trainOnBatch(bad[16..<24]) }
    #expect(same(try bits(model), try bits(twin)) && model.stepCount == twin.stepCount)
  }

  @Test func goodStepsAreTheSameWhateverThePolicy() throws {
    for optimizer in Self.optimizers {
      let models: [Sequential<Float>] = try NonFinitePolicy.allCases.map { try network(optimizer, $0, threads: 2) }
      for model in models { try model.fit(data(nil), epochs: 4, batchSize: 7, verbose: .silent) }
      for model in models.dropFirst() { #expect(same(try bits(model), try bits(models[0])), "\(optimizer)") }
    }
  }

  @Test func ignoreLetsItThrough() throws {
    let model: Sequential<Float> = try network(Adam(), .ignore, threads: 2)
    let history = try model.fit(data(.notANumber), batchSize: 8, shuffle: false, verbose: .silent)
    #expect(history.skippedSteps.isEmpty)
    #expect(try bits(model).contains { $0.contains { !$0.isFinite } })
  }

  @Test func customAndInnerAxisLayersAreGuarded() throws {
    let model = Sequential<Float>(layers: [
      BatchNormalization(axis: 1), Flatten(), Dense(20, activation: .relu), Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .categoricalCrossEntropy(), threads: 2, nonFinite: .rollBack)
    func samples(_ bad: Bool) -> Samples<Float> {
      Samples(
        unchecked: Tensor(shape: [12, 3, 4]) { bad && $0 == 100 ? .nan : Float($0 % 7) },
        targets: .values(Tensor(shape: [12, 3]) { $0 % 3 == 0 ? 1 : 0 }))
    }
    try model.fit(samples(false), batchSize: 4, verbose: .silent)
    let before = try bits(model)
    let history = try model.fit(samples(true), batchSize: 12, verbose: .silent)
    #expect(history.skippedSteps.count == 1 && history.skippedSteps[0].place == .inputs)
    #expect(same(try bits(model), before))
  }
}
