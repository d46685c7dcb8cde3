import CPUFeatures
import LinearAlgebra
import RandomNumbers

/// A model whose layers follow each other.
///
/// ```swift
/// let model = Sequential {
///   Dense(128, activation: .relu)
///   BatchNormalization()
///   Dense(10)
/// }
/// try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(fromLogits: true))
/// ```
///
/// Float unless written `Sequential<Double> { … }`. Weights exist once the input shape is known: from
/// `build(inputShape:)` or the first data that `fit` sees. One seed decides weights, shuffling and dropout. A model is
/// for one thread at a time; it starts its own threads for the steps.
public final class Sequential<Scalar: NetworkScalar> {
  /// The layers, first to last.
  public let layers: [any Layer]
  /// What weights, shuffling and dropout masks are drawn from.
  public let seed: UInt64

  var network: NetworkLayout?
  var store: ParameterStore<Scalar>?
  /// What `predict` and `evaluate` used last.
  var cachedPredictor: CachedPredictor<Scalar>?
  /// What `compile` set.
  package var configuration: CompiledConfiguration?
  /// Updates made since the model was compiled.
  package var stepCount = 0
  /// Epochs finished since the model was made; each shuffles differently.
  package var epochCount = 0
  /// The steps that the `fit` at hand has undone.
  package var nonFiniteSteps: [NonFiniteStep] = []
  /// Plans by the size of their team; small and large batches may want different ones.
  private(set) var plans: [Int: ExecutionPlan<Scalar>] = [:]
  /// Team sizes that a timing chose, by the batch's magnitude.
  private var timedSizes: [Int: TeamTiming.Choice] = [:]
  /// Timings that expire before it are made again.
  private var timingClock: UInt64 = 0
  /// Members of the team of the plan that was asked for last; nil before the first.
  package private(set) var teamSize: Int?

  /// A model of the given layers, in any precision.
  ///
  /// - Parameters:
  ///   - seed: what all random numbers are drawn from.
  ///   - layers: the layers, first to last.
  public init(seed: UInt64 = 0, layers: [any Layer]) {
    self.layers = layers
    self.seed = seed
  }

  /// A model of the layers that the closure lists, in the precision named at `Sequential<…>`.
  @_disfavoredOverload
  public convenience init(seed: UInt64 = 0, @LayerBuilder _ layers: () -> [any Layer]) {
    self.init(seed: seed, layers: layers())
  }

  // MARK: Shape

  /// Whether the weights exist.
  public var isBuilt: Bool { network != nil }
  /// Shape of one sample of the input, once built.
  public var inputShape: [Int]? { network?.inputShape }
  /// Shape of one sample of the output, once built.
  public var outputShape: [Int]? { network?.outputShape }

  /// Makes the weights for samples of `inputShape`; does nothing where they exist for that shape.
  ///
  /// - Throws: `ModelError` where a layer cannot take its input, two layers share a name, or the model was built for
  ///   another shape.
  public func build(inputShape: [Int]) throws {
    if let network {
      guard network.inputShape == inputShape else {
        throw ModelError.shape(
          what: "the input of this model, once built,", expected: network.inputShape, got: inputShape)
      }
      return
    }
    let network = try NetworkLayout(layers: layers, inputShape: inputShape, precision: Scalar.self)
    let store = ParameterStore<Scalar>(records: network.records, stages: network.stages)
    try store.initialize(seed: seed)
    self.store = store
    self.network = network
    if let configuration { store.resetOptimizerState(vectors: configuration.optimizer.updateRule.stateVectors) }
  }

  // MARK: Compile

  /// Sets what training does: the optimizer, the loss, the number of threads.
  ///
  /// The optimizer's state begins anew.
  ///
  /// - Parameters:
  ///   - optimizer: Adam by default.
  ///   - loss: what is minimized; its mean over a batch is reported.
  ///   - threads: members of the team that computes a step. Nil: what the variable `LAMINA_THREADS` says; without it
  ///     the number, from 1 to the processors that this process may use and at most 8, at which the step runs fastest.
  ///     That is measured when the first batch comes and for batches of another magnitude, in some milliseconds, once
  ///     per process for each kind of step, and by `fit` again at an epoch's start after some seconds: what
  ///     else runs on the machine comes and goes. The weights do not depend on the number.
  ///   - nonFinite: what becomes of a step in which a number is not finite, `.ignore` by default. With the others a step
  ///     commits weights, optimizer state, running statistics and random state only where the loss, the inputs and
  ///     gradients of its layers and all it commits are finite; else all of it stays as it was, to the bit.
  /// - Throws: `ModelError` where an argument is out of range, or loss and output do not fit.
  public func compile(
    optimizer: any Optimizer = Adam(), loss: Loss, threads: Int? = nil, nonFinite: NonFinitePolicy = .ignore
  ) throws {
    try CompiledConfiguration.check(optimizer)
    configuration = CompiledConfiguration(
      optimizer: optimizer, loss: loss, threads: try ThreadRequest(threads), nonFinite: nonFinite)
    plans = [:]
    timedSizes = [:]
    teamSize = nil
    stepCount = 0
    store?.resetOptimizerState(vectors: optimizer.updateRule.stateVectors)
  }

  /// Whether `compile` has been called.
  public var isCompiled: Bool { configuration != nil }

  /// The optimizer; a changed learning rate takes effect at the next step.
  public var optimizer: (any Optimizer)? { configuration?.optimizer }

  /// Changes the step size from the next step on.
  ///
  /// - Throws: `ModelError` where the model is not compiled or the value is negative or not finite.
  public func setLearningRate(_ learningRate: Double) throws {
    guard var configuration else { throw ModelError.notCompiled }
    configuration.optimizer.learningRate = learningRate
    try CompiledConfiguration.check(configuration.optimizer)
    self.configuration = configuration
  }

  /// The plan for batches of up to `samples`, made anew where the one at hand is smaller.
  ///
  /// Prediction needs no `compile`: without one the plan has the loss that fits any output and one thread.
  package func plan(samples: Int) throws -> ExecutionPlan<Scalar> {
    guard let network, let store else { throw ModelError.notBuilt }
    let members = try teamSize(for: samples, network, store)
    teamSize = members
    if let plan = plans[members], plan.capacity >= samples { return plan }
    // The old plan's team ends before the new one's begins.
    plans[members] = nil
    let plan = try ExecutionPlan(
      network: network, store: store, loss: configuration?.loss ?? .meanSquaredError, capacity: samples,
      threads: members, seed: seed, isGuarded: configuration.map { $0.nonFinite != .ignore } ?? false)
    plans[members] = plan
    return plan
  }

  private func teamSize(for samples: Int, _ network: NetworkLayout, _ store: ParameterStore<Scalar>) throws -> Int {
    guard let configuration else { return 1 }
    switch configuration.threads {
    case .exactly(let members): return members
    case .timed:
      // Batches of one magnitude share a timing: data come in many sizes.
      var magnitude = 1
      while magnitude < samples { magnitude *= 2 }
      if let known = timedSizes[magnitude], known.expires >= timingClock { return known.members }
      let choice = try TeamTiming.choice(
        network: network, store: store, loss: configuration.loss, rule: configuration.optimizer.updateRule,
        samples: magnitude, seed: seed, clock: timingClock)
      timedSizes[magnitude] = choice
      return choice.members
    }
  }

  /// Has the team's size timed again by the next plan where the last timing has expired at `clock`, by default now.
  ///
  /// No bit of a result depends on it. Nothing happens where the size was given.
  package func reconsiderTeamSize(at clock: UInt64? = nil) { timingClock = clock ?? lamina_nanoseconds() }
}

extension Sequential where Scalar == Float {
  /// A Float model of the layers that the closure lists.
  ///
  /// - Parameters:
  ///   - seed: what all random numbers are drawn from.
  ///   - layers: the layers, first to last; `if` and `for` are allowed.
  public convenience init(seed: UInt64 = 0, @LayerBuilder _ layers: () -> [any Layer]) {
    self.init(seed: seed, layers: layers())
  }
}

/// What `compile` set.
package struct CompiledConfiguration {
  package var optimizer: any Optimizer
  package var loss: Loss
  package var threads: ThreadRequest
  package var nonFinite = NonFinitePolicy.ignore

  /// Refuses settings that cannot train.
  static func check(_ optimizer: any Optimizer) throws {
    func require(_ condition: Bool, _ name: String, _ problem: @autoclosure () -> String) throws {
      if !condition { throw ModelError.argument(name: name, problem: problem()) }
    }
    func finite(_ value: Double, _ name: String) throws {
      try require(value >= 0 && value.isFinite, name, "must be at least 0 and finite, not \(value)")
    }
    func share(_ value: Double, _ name: String) throws {
      try require((0..<1).contains(value), name, "must be in 0 ..< 1, not \(value)")
    }
    switch optimizer.updateRule {
    case .sgd(let learningRate): try finite(learningRate, "learningRate")
    case .momentum(let learningRate, let momentum, _):
      try finite(learningRate, "learningRate")
      try share(momentum, "momentum")
    case .adam(let learningRate, let beta1, let beta2, let epsilon, let weightDecay),
      .adamCorrectingEpsilon(let learningRate, let beta1, let beta2, let epsilon, let weightDecay):
      try finite(learningRate, "learningRate")
      try share(beta1, "beta1")
      try share(beta2, "beta2")
      try finite(epsilon, "epsilon")
      try finite(weightDecay, "weightDecay")
    case .rmsprop(let learningRate, let rho, let momentum, let epsilon, _):
      try finite(learningRate, "learningRate")
      try share(rho, "rho")
      try share(momentum, "momentum")
      try finite(epsilon, "epsilon")
    }
  }
}
