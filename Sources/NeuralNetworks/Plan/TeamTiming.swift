import CPUFeatures
import Kernels
import LinearAlgebra

/// Chooses the size of a team by timing the training step, for each kind of step in the process.
///
/// The step runs on copies of weights, statistics and optimizer state, with a learning rate of 0 and made-up samples:
/// nothing of the model is touched, and as the bits of a step do not depend on the team, no result depends on the
/// choice. Candidates are 1, 2, 4, … and the number of processors, at most 8; a larger team must be 5 % faster than
/// the best of the smaller. Each is timed for 5 ms at most, one that is far too slow for less. Where a step takes too
/// long for that (10⁹ floating-point operations, 4 million inputs) all processors are used untimed, and so they are for
/// a user's layer, which may keep a state of its own.
enum TeamTiming {
  /// What two steps have in common that take the same time.
  private struct Key: Hashable {
    var step: String
    var samples: Int
    var processors: Int
  }

  /// A size, when it was found, and until when `fit` trusts it, on the clock of `lamina_nanoseconds`.
  ///
  /// What else runs on the machine comes and goes, and a choice made beside it may be wrong by a factor of two for the
  /// rest of a training.
  struct Choice {
    var members: Int
    var made: UInt64
    var expires: UInt64

    /// A choice that no timing was needed for.
    static func untimed(_ members: Int) -> Choice { Choice(members: members, made: 0, expires: .max) }
  }

  /// The last choice of each kind; one is made at a time.
  private static let choices = Locked<[Key: Choice]>([:])

  /// Nanoseconds that a choice is trusted at least, and times as long as it took to make: timing costs one per cent.
  private static let leastTrust: UInt64 = 2_000_000_000
  private static let trust: UInt64 = 100

  /// Floating-point operations of a step's products, and numbers of a batch, beyond which it is not timed.
  private static let mostOperations = 1e9
  private static let mostInputs = 1 << 22
  /// What a larger team must save.
  private static let gain = 0.05
  /// Turns of each candidate, unless it is so many times slower than another.
  private static let turns = 3
  private static let hopeless = 3.0
  /// Nanoseconds of a turn, and of one of its measurements.
  private static let budget: UInt64 = 1_500_000
  private static let window: UInt64 = 150_000

  /// The number of members for steps of about `samples` samples: the last choice, unless it expires before `clock`.
  ///
  /// - Throws: what making a plan throws.
  static func choice<Scalar: NetworkScalar>(
    network: NetworkLayout, store: ParameterStore<Scalar>, loss: Loss, rule: UpdateRule, samples: Int, seed: UInt64,
    clock: UInt64 = 0, processors: Int = ThreadRequest.timed.mostMembers
  ) throws -> Choice {
    guard processors > 1 else { return .untimed(1) }
    guard !network.hasCustomLayer, operations(network, samples: samples) <= mostOperations,
      samples * network.inputShape.reduce(1, *) <= mostInputs
    else { return .untimed(processors) }
    let step =
      "\(Scalar.precisionName) \(try InstructionSet.chosen().rawValue) \(rule.kind) \(loss) "
      + network.stages.map(\.fingerprint).joined(separator: " ")
    let key = Key(step: step, samples: samples, processors: processors)
    // One at a time: two timings at once would disturb each other.
    return try choices.withLock { known in
      if let choice = known[key], choice.expires >= clock { return choice }
      let start = lamina_nanoseconds()
      let members = try time(
        candidates(processors), network: network, store: store, loss: loss, rule: rule, samples: samples, seed: seed)
      let made = lamina_nanoseconds()
      let choice = Choice(members: members, made: made, expires: made + max(leastTrust, trust * (made - start)))
      known[key] = choice
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

  /// Times the step with teams of the sizes `candidates`, and returns the size that wins.
  ///
  /// The sizes take turns, a few times: what disturbs one turn is seldom there in the next.
  static func time<Scalar: NetworkScalar>(
    _ candidates: [Int], network: NetworkLayout, store: ParameterStore<Scalar>, loss: Loss, rule: UpdateRule,
    samples: Int, seed: UInt64
  ) throws -> Int {
    let copy = ParameterStore<Scalar>(copying: store, records: network.records, stages: network.stages)
    let batch = MadeUpBatch<Scalar>(network: network, samples: samples, labels: loss.takesLabels)
    var rivals = try candidates.map { members in
      let plan = try ExecutionPlan(
        network: network, store: copy, loss: loss, capacity: samples, threads: members, seed: seed)
      return (plan: plan, time: Double.infinity)
    }
    for _ in 0..<turns {
      for index in rivals.indices {
        rivals[index].time = min(rivals[index].time, turn(rivals[index].plan, batch, rule))
      }
      let least = rivals.map(\.time).min() ?? 0
      rivals.removeAll { $0.time > hopeless * least }
      if rivals.count == 1 { break }
    }
    return fastest(of: rivals.map { ($0.plan.threads, $0.time) })
  }

  /// Nanoseconds of one training step, the least of several measurements.
  private static func turn<Scalar: NetworkScalar>(
    _ plan: ExecutionPlan<Scalar>, _ batch: MadeUpBatch<Scalar>, _ rule: UpdateRule
  ) -> Double {
    let still = rule.scalingLearningRate(by: 0)
    func time(_ steps: Int) -> UInt64 {
      let start = lamina_nanoseconds()
      for _ in 0..<steps {
        _ = plan.train(
          batch.source, indices: batch.indices.baseAddress, samples: plan.capacity, rule: still, step: 1)
      }
      return max(1, lamina_nanoseconds() - start)
    }
    // The first steps fetch memory and wake the threads.
    var spent = time(1)
    let once = time(1)
    spent += once
    let steps = max(1, Int(window / once))
    var least = Double(once)
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

/// Samples to time a step with.
private final class MadeUpBatch<Scalar: NetworkScalar> {
  let indices: AlignedBuffer<Int32>
  let source: BatchSource<Scalar>
  private let inputs: AlignedBuffer<Scalar>
  private let targets: AlignedBuffer<Scalar>
  private let classes: AlignedBuffer<Int32>

  init(network: NetworkLayout, samples: Int, labels: Bool) {
    let count = samples * network.inputShape.reduce(1, *)
    let outputs = samples * network.outputShape.reduce(1, *)
    inputs = AlignedBuffer(zeroedCapacity: count)
    for index in 0..<count { inputs.baseAddress[index] = Scalar((index * 37) % 101) / 101 }
    targets = AlignedBuffer(zeroedCapacity: outputs)
    classes = AlignedBuffer(zeroedCapacity: outputs)
    indices = AlignedBuffer(zeroedCapacity: samples)
    for index in 0..<samples { indices.baseAddress[index] = Int32(index) }
    source = BatchSource(
      inputs: .scalars(inputs.baseAddress),
      targets: labels ? .labels(classes.baseAddress) : .values(targets.baseAddress))
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
      case .normalization(let normalization, let relu, let mask, let shortcut):
        "bn\(normalization.gamma == nil ? "" : "g")\(normalization.beta == nil ? "" : "b")\(relu)\(mask)"
          + (shortcut == nil ? "" : "+")
      case .addition(_, let relu): "add\(relu)"
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
    case .adam(_, _, _, _, let weightDecay), .adamCorrectingEpsilon(_, _, _, _, let weightDecay):
      weightDecay == 0 ? "adam" : "adamw"
    case .rmsprop(_, _, let momentum, _, let centered): "rmsprop\(momentum > 0)\(centered)"
    }
  }
}
