import CPUFeatures
import Kernels
import LinearAlgebra
import Synchronization

/// Chooses the size of a team by timing the training step, once per process for each kind of step.
///
/// The step runs on copies of weights, statistics and optimizer state, with a learning rate of 0 and made-up samples:
/// nothing of the model is touched, and as the bits of a step do not depend on the team, no result depends on the
/// choice. Candidates are 1, 2, 4, … and the number of processors, at most 8; a larger team must be 5 % faster than
/// the best of the smaller. Each is timed for 2 ms, so that a choice takes some milliseconds. Where even one step takes
/// longer (10⁹ floating-point operations, 4 million inputs) all processors are used untimed, and so they are for a
/// user's layer, which may keep a state of its own.
enum TeamTiming {
  /// What two steps have in common that take the same time.
  private struct Key: Hashable {
    var step: String
    var samples: Int
    var processors: Int
  }

  private static let choices = Mutex<[Key: Int]>([:])

  /// Floating-point operations of a step's products, and numbers of a batch, beyond which it is not timed.
  private static let mostOperations = 1e9
  private static let mostInputs = 1 << 22
  /// What a larger team must save.
  private static let gain = 0.05
  /// Time for one candidate, warming up apart, and for one of its measurements.
  private static let budget: UInt64 = 2_000_000
  private static let window: UInt64 = 150_000

  /// The number of members for steps of about `samples` samples.
  ///
  /// - Throws: what making a plan throws.
  static func members<Scalar: NetworkScalar>(
    network: NetworkLayout, store: ParameterStore<Scalar>, loss: Loss, rule: UpdateRule, samples: Int, seed: UInt64,
    processors: Int = ThreadRequest.timed.mostMembers
  ) throws -> Int {
    guard processors > 1 else { return 1 }
    guard !network.hasCustomLayer, operations(network, samples: samples) <= mostOperations,
      samples * network.inputShape.reduce(1, *) <= mostInputs
    else { return processors }
    let step =
      "\(Scalar.precisionName) \(try InstructionSet.chosen().rawValue) \(rule.kind) \(loss) "
      + network.stages.map(\.fingerprint).joined(separator: " ")
    let key = Key(step: step, samples: samples, processors: processors)
    // Held while the step is timed: two timings at once would disturb each other.
    return try choices.withLock { choices in
      if let known = choices[key] { return known }
      let times = try candidates(processors).map { members in
        let time = try nanoseconds(
          network: network, store: store, loss: loss, rule: rule, samples: samples, seed: seed, members: members)
        return (members: members, time: time)
      }
      let choice = fastest(of: times)
      choices[key] = choice
      return choice
    }
  }

  /// The sizes that are tried with `processors` processors.
  static func candidates(_ processors: Int) -> [Int] {
    var sizes = [1]
    while let last = sizes.last, 2 * last <= processors { sizes.append(2 * last) }
    if sizes.last != processors { sizes.append(processors) }
    return sizes
  }

  /// The size that wins: a larger one must save 5 %.
  static func fastest(of times: [(members: Int, time: Double)]) -> Int {
    var best = times[0]
    for next in times.dropFirst() where next.time < best.time * (1 - gain) { best = next }
    return best.members
  }

  /// Nanoseconds of one training step with a team of `members`, the least of several measurements.
  static func nanoseconds<Scalar: NetworkScalar>(
    network: NetworkLayout, store: ParameterStore<Scalar>, loss: Loss, rule: UpdateRule, samples: Int, seed: UInt64,
    members: Int
  ) throws -> Double {
    let copy = ParameterStore<Scalar>(copying: store, records: network.records, stages: network.stages)
    let plan = try ExecutionPlan(
      network: network, store: copy, loss: loss, capacity: samples, threads: members, seed: seed)
    let columns = network.inputShape.reduce(1, *)
    let inputs = AlignedBuffer<Scalar>(zeroedCapacity: samples * columns)
    for index in 0..<samples * columns { inputs.baseAddress[index] = Scalar((index * 37) % 101) / 101 }
    let outputs = samples * network.outputShape.reduce(1, *)
    let targets = AlignedBuffer<Scalar>(zeroedCapacity: outputs)
    let labels = AlignedBuffer<Int32>(zeroedCapacity: outputs)
    let indices = AlignedBuffer<Int32>(zeroedCapacity: samples)
    for index in 0..<samples { indices.baseAddress[index] = Int32(index) }
    let source = BatchSource<Scalar>(
      inputs: .scalars(inputs.baseAddress),
      targets: loss.takesLabels ? .labels(labels.baseAddress) : .values(targets.baseAddress))
    let still = rule.scalingLearningRate(by: 0)

    func time(_ steps: Int) -> UInt64 {
      let start = lamina_nanoseconds()
      for _ in 0..<steps {
        _ = plan.train(source, indices: indices.baseAddress, samples: samples, rule: still, step: 1)
      }
      return max(1, lamina_nanoseconds() - start)
    }
    // The first steps fetch memory and wait for the threads.
    _ = time(1)
    let once = time(1)
    let steps = max(1, Int(window / once))
    var least = Double(once)
    var spent = once
    while spent < budget {
      let passed = time(steps)
      spent += passed
      least = min(least, Double(passed) / Double(steps))
    }
    return least
  }

  /// Floating-point operations of the products of a step.
  private static func operations(_ network: NetworkLayout, samples: Int) -> Double {
    network.stages.reduce(0) { sum, stage in
      guard case .dense = stage.core else { return sum }
      let rows = Double(samples * stage.outputRowsPerSample)
      return sum + 6 * rows * Double(stage.inputColumns) * Double(stage.outputColumns)
    }
  }
}

extension NetworkLayout {
  /// Whether a user's code runs in a step.
  var hasCustomLayer: Bool {
    stages.contains { if case .custom = $0.core { true } else { false } }
  }
}

extension StageLayout {
  /// All that the stage's time depends on, but for the number of samples.
  fileprivate var fingerprint: String {
    let core =
      switch core {
      case .dense(_, let bias): bias == nil ? "dense" : "dense+bias"
      case .columns: "columns"
      case .softmax: "softmax"
      case .innerAxisNormalization(_, let outer, let features, let inner): "bn\(outer)x\(features)x\(inner)"
      case .custom: "custom"
      }
    let steps = steps.map { step in
      switch step {
      case .activation(let kind, _, _, let fused): "\(kind)\(fused ? "*" : "")"
      case .normalization(let normalization, let relu, let mask):
        "bn\(normalization.gamma == nil ? "" : "g")\(normalization.beta == nil ? "" : "b")\(relu)\(mask)"
      case .dropout: "dropout"
      }
    }
    return "\(core)[\(inputRowsPerSample)x\(inputColumns)->\(outputRowsPerSample)x\(outputColumns)]"
      + steps.joined(separator: ",")
  }
}

extension UpdateRule {
  /// The rule without its numbers, but for those that decide what is computed.
  fileprivate var kind: String {
    switch self {
    case .sgd: "sgd"
    case .momentum(_, _, let nesterov): nesterov ? "nesterov" : "momentum"
    case .adam(_, _, _, _, let weightDecay): weightDecay == 0 ? "adam" : "adamw"
    case .rmsprop(_, _, let momentum, _, let centered): "rmsprop\(momentum > 0)\(centered)"
    }
  }
}
