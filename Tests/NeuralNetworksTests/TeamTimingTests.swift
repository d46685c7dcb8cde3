import LinearAlgebra
import Testing
import Training

@testable import NeuralNetworks

/// The size of the team: argument, variable, or a timing that leaves no trace in the model.
@Suite("Team timing")
struct TeamTimingTests {
  @Test("The argument beats the variable; without both the step is timed")
  func requests() throws {
    let set = ["LAMINA_THREADS": "3"]
    #expect(try ThreadRequest(nil, environment: [:]) == .timed)
    #expect(try ThreadRequest(nil, environment: ["LAMINA_THREADS": ""]) == .timed)
    #expect(try ThreadRequest(nil, environment: set) == .exactly(3))
    #expect(try ThreadRequest(2, environment: set) == .exactly(2))
    // An argument makes a bad variable harmless.
    #expect(try ThreadRequest(2, environment: ["LAMINA_THREADS": "many"]) == .exactly(2))
    #expect(ThreadRequest.exactly(5).mostMembers == 5)
    #expect((1...8).contains(ThreadRequest.timed.mostMembers))
  }

  @Test(
    "A bad variable is refused by name", arguments: ["0", "-1", "1025", "two", "2.5", " 2", "99999999999999999999"])
  func badVariable(text: String) {
    let error = #expect(throws: ModelError.self) { try ThreadRequest(nil, environment: ["LAMINA_THREADS": text]) }
    #expect(error?.description.hasPrefix("LAMINA_THREADS: ") == true)
    #expect(error?.description.contains("not '\(text)'") == true && error?.description.contains("unset") == true)
  }

  @Test func tooManyThreads() {
    #expect(throws: ModelError.argument(name: "threads", problem: "must be at most 1024, not 1025")) {
      try ThreadRequest(1025, environment: [:])
    }
  }

  @Test func candidates() {
    #expect(TeamTiming.candidates(1) == [1])
    #expect(TeamTiming.candidates(2) == [1, 2])
    #expect(TeamTiming.candidates(3) == [1, 2, 3])
    #expect(TeamTiming.candidates(6) == [1, 2, 4, 6])
    #expect(TeamTiming.candidates(8) == [1, 2, 4, 8])
  }

  @Test("Fewer threads unless more are clearly faster")
  func fastest() {
    #expect(TeamTiming.fastest(of: [(1, 100), (2, 96)]) == 1)
    #expect(TeamTiming.fastest(of: [(1, 100), (2, 94)]) == 2)
    #expect(TeamTiming.fastest(of: [(1, 100), (2, 60), (4, 58)]) == 2)
    #expect(TeamTiming.fastest(of: [(1, 100), (2, 110), (4, 50)]) == 4)
  }

  static let optimizers: [any Optimizer] = [
    SGD(), SGD(momentum: 0.9), Adam(), AdamW(), RMSprop(momentum: 0.9, centered: true),
  ]

  @Test("Timing touches no weight, statistic, gradient or optimizer state", arguments: optimizers.indices)
  func noTrace(number: Int) throws {
    try noTrace(Self.optimizers[number], Float.self)
    try noTrace(Self.optimizers[number], Double.self)
  }

  private func noTrace<Scalar: NetworkScalar>(_ optimizer: any Optimizer, _: Scalar.Type) throws {
    let (model, data) = try trained(optimizer, Scalar.self)
    let (twin, _) = try trained(optimizer, Scalar.self)
    let store = try #require(model.store)
    let network = try #require(model.network)
    func bits() -> [[Scalar]] {
      [store.weights, store.state, store.gradients, store.optimizerState].map {
        Array(UnsafeBufferPointer(start: $0.baseAddress, count: $0.capacity))
      }
    }
    let before = bits()
    let size = try TeamTiming.time(
      [1, 2, 3], network: network, store: store, loss: .sparseCategoricalCrossEntropy(), rule: optimizer.updateRule,
      samples: 16, seed: 4)
    #expect([1, 2, 3].contains(size))
    #expect(bits() == before)
    // And training goes on as if nothing had been timed.
    try model.fit(data, batchSize: 8, verbose: .silent)
    try twin.fit(data, batchSize: 8, verbose: .silent)
    #expect(try model.weightsSHA256() == twin.weightsSHA256())
  }

  /// A model with all kinds of state, after an epoch on two threads.
  private func trained<Scalar: NetworkScalar>(
    _ optimizer: any Optimizer, _: Scalar.Type
  ) throws -> (Sequential<Scalar>, Samples<Scalar>) {
    let inputs = Tensor<Scalar>(shape: [30, 9]) { Scalar(($0 * 7) % 23) / 23 }
    let data = try Samples(inputs, labels: (0..<30).map { $0 % 3 })
    let model = Sequential<Scalar>(
      seed: 4,
      layers: [
        Dense(49, activation: .relu), BatchNormalization(), Dropout(0.3), Dense(7), BatchNormalization(),
        Dense(3, activation: .softmax),
      ])
    try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: 2)
    try model.fit(data, batchSize: 8, verbose: .silent)
    return (model, data)
  }

  @Test("Without a number every loss and kind of layer is timed, and the result is that of one thread")
  func timedModels() throws {
    let inputs = Tensor<Float>(shape: [24, 2, 6]) { Float(($0 * 5) % 17) / 17 }
    let values = Tensor<Float>(shape: [24, 4]) { $0 % 4 == ($0 / 4) % 4 ? 1 : 0 }
    let data = try Samples(inputs, targets: values)
    for loss in [Loss.meanSquaredError, .categoricalCrossEntropy(), .binaryCrossEntropy(fromLogits: true)] {
      func run(_ threads: Int?) throws -> String {
        let model = Sequential(seed: 1) {
          BatchNormalization(axis: 1)
          Flatten()
          Dense(20, activation: .tanh)
          Dense(4, activation: .softmax)
        }
        try model.compile(optimizer: Adam(), loss: loss, threads: threads)
        #expect(model.teamSize == nil)
        try model.fit(data, epochs: 2, batchSize: 7, verbose: .silent)
        let size = try #require(model.teamSize)
        if let threads {
          #expect(size == threads)
        } else {
          #expect((1...ThreadRequest.timed.mostMembers).contains(size))
        }
        return try model.weightsSHA256()
      }
      #expect(try run(nil) == run(1))
    }
  }

  @Test("A choice holds for the process, and for every batch of its magnitude")
  func cached() throws {
    let (model, _) = try trained(Adam(), Float.self)
    let store = try #require(model.store)
    let network = try #require(model.network)
    func choose(_ processors: Int) throws -> Int {
      // A clock that stands still: beside other tests seconds may pass, and a choice expires.
      try TeamTiming.choice(
        network: network, store: store, loss: .sparseCategoricalCrossEntropy(), rule: Adam().updateRule, samples: 32,
        seed: 4, clock: 0, processors: processors
      ).members
    }
    for processors in [1, 2, 3] {
      let first = try choose(processors)
      #expect((1...processors).contains(first))
      for _ in 0..<3 { #expect(try choose(processors) == first) }
    }
  }

  @Test("A choice that has expired is made again")
  func renewed() throws {
    let (model, _) = try trained(SGD(), Double.self)
    let store = try #require(model.store)
    let network = try #require(model.network)
    func choose(clock: UInt64) throws -> TeamTiming.Choice {
      try TeamTiming.choice(
        network: network, store: store, loss: .sparseCategoricalCrossEntropy(), rule: SGD().updateRule, samples: 32,
        seed: 4, clock: clock, processors: 2)
    }
    let first = try choose(clock: 0)
    #expect(first.expires >= first.made + 2_000_000_000)
    #expect(try choose(clock: first.expires).made == first.made)
    let second = try choose(clock: first.expires + 1)
    #expect(second.made > first.made)
    #expect(try choose(clock: 0).made == second.made)
  }

  @Test("A team that is timed anew before every step changes no bit")
  func renewedInTraining() throws {
    func weights(_ threads: Int?) throws -> String {
      let (model, data) = try trained(Adam(), Float.self)
      try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(), threads: threads)
      for _ in 0..<4 {
        model.reconsiderTeamSize(at: .max - 1)
        try model.trainOnBatch(data)
      }
      return try model.weightsSHA256()
    }
    #expect(try weights(nil) == weights(1))
  }

  @Test("A user's layer and a step of many milliseconds are not timed")
  func untimed() throws {
    func choose(_ layers: [any Layer], samples: Int) throws -> Int {
      let network = try NetworkLayout(layers: layers, inputShape: [1000], precision: Double.self)
      let store = ParameterStore<Double>(records: network.records, stages: network.stages)
      return try TeamTiming.choice(
        network: network, store: store, loss: .meanSquaredError, rule: SGD().updateRule, samples: samples, seed: 0,
        processors: 7
      ).members
    }
    #expect(try choose([Dense(1000)], samples: 1024) == 7)
    #expect(try choose([Dense(1)], samples: 1 << 15) == 7)
    #expect(try choose([CountingLayer()], samples: 8) == 7)
  }

  /// A layer whose calls would show.
  private struct CountingLayer: CustomLayer {
    func outputShape(inputShape: [Int]) throws -> [Int] { inputShape }

    func forward(
      _ input: MatrixView<Double>, parameters: [MatrixView<Double>], output: MatrixView<Double>, mode: Mode
    ) { Issue.record("a user's layer was timed") }

    func backward(
      input: MatrixView<Double>, output: MatrixView<Double>, outputGradient: MatrixView<Double>,
      parameters: [MatrixView<Double>], inputGradient: MatrixView<Double>, parameterGradients: [MatrixView<Double>]
    ) { Issue.record("a user's layer was timed") }
  }
}
