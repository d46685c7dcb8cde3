import Kernels
import LinearAlgebra

/// A model compiled for a batch size and a team: every pointer bound, nothing left to decide in a step.
///
/// A step runs as a few phases between barriers; in each, a member of the team computes the tiles it owns. Which member
/// computes a tile never changes its bits. A step allocates nothing.
public final class ExecutionPlan<Scalar: NetworkScalar>: TeamJob {
  /// The largest batch, in samples.
  package let capacity: Int
  /// Members of the team.
  package let threads: Int

  let store: ParameterStore<Scalar>
  let kernels: StepKernels<Scalar>
  let products: StepProducts<Scalar>
  let table: KernelTable<Scalar>
  let team: WorkerTeam
  let stages: UnsafeMutableBufferPointer<BoundStage<Scalar>>
  /// Stages that run in training: all, or all but a softmax that the loss includes.
  let trainingStages: Int
  let wholeOperations: [any WholeOperation<Scalar>]
  var inputs: InputCopies<Scalar>
  let labels: UnsafeMutablePointer<Int32>
  let targets: MatrixView<Scalar>
  /// The loss on what the last training stage makes.
  let rowLoss: Loss
  let seed: UInt64
  /// Where the first layer can multiply bytes.
  private let byteInputs: ByteInputs<Scalar>?
  /// The same where the batch at hand is computed so.
  var bytes: ByteInputs<Scalar>?
  /// Where products of wide stages are made of factors that are laid out first.
  let wide: WideProducts<Scalar>?
  /// Where products with what a ReLU leaves are made from lists.
  let sparse: SparseProducts<Scalar>?

  /// Weights of kernels in the tiles that each member owns.
  let kernelWeights: [Int]

  private let memory: PlanMemory<Scalar>
  private let scratchMemory: AlignedBuffer<Scalar>
  private let scratchPerMember: Int
  private var statisticsWeights = AlignedBuffer<Double>(zeroedCapacity: 0)

  // The job at hand, set by the caller before the team is started.
  var task = Task.train
  var source: BatchSource<Scalar>?
  var indices: UnsafePointer<Int32>?
  var sampleCount = 0
  /// Samples of the batch after this one, whose indices follow; 0 where it is not known.
  var upcoming = 0
  var update: BoundUpdate?
  var step = 0
  var sums = LossSums(loss: 0, correct: 0)
  /// Whether some γ or β does not learn in this step.
  var hasFrozenParameters = false
  /// The sum of the penalties, as `penalize` left it.
  var penalty = 0.0

  enum Task {
    case train
    case gradients
    case infer
    case evaluate
    /// Forward in training mode.
    case observe
    /// Forward in training mode and loss.
    case assess
    /// Forward and backward of what is in place already.
    case passes
    /// The penalties on γ and β, by the caller alone.
    case penalize
    /// The constraints on γ and β, by the caller alone.
    case constrain
  }

  /// Whether each member gathers the whole batch into a copy of its own.
  @inline(__always)
  package var membersGatherAll: Bool {
    if let bytes { bytes.isPrivate } else { inputs.areInUse }
  }

  /// Whether the first layer multiplied the bytes of the last batch themselves.
  package var multipliesBytes: Bool { bytes != nil }

  /// Undoes steps that are not finite; nil: nobody looks.
  let stepGuard: StepGuard<Scalar>?

  /// Whether the last training step was undone.
  package var stepWasUndone: Bool { stepGuard?.rejected ?? false }
  /// The last stage, in the order of the layers, whose gradient was not finite in a step that was undone.
  package var nonFiniteGradientStage: Int? { stepGuard?.gradientStage }

  /// Names of the running statistics that a step, undone, had made not finite.
  package var nonFiniteStatistics: [String] { stepGuard?.statistics ?? [] }

  /// Binds `network` to memory for batches of up to `capacity` samples.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong; `ModelError.layer` where a user's layer is written
  ///   for another precision.
  init(
    network: NetworkLayout, store: ParameterStore<Scalar>, loss: Loss, capacity: Int, threads: Int, seed: UInt64,
    isGuarded: Bool = false
  ) throws {
    self.capacity = capacity
    self.threads = threads
    self.store = store
    self.seed = seed
    // The team calls BLAS from several threads; threads of BLAS's own under it would fight for the cores.
    BLAS.prepare()
    table = try Scalar.kernels()
    kernels = StepKernels(table)
    products = StepProducts(table)
    team = try WorkerTeam(size: threads)
    (trainingStages, rowLoss) = network.trainingStages(loss: loss)
    memory = try PlanMemory(network: network, store: store, capacity: capacity)
    // A block of a kernel's gradient (128 rows at most), or the rows of a kernel that belong to one tile.
    let widestTile = 2 * TileGrid.width
    let scratch = BoundUpdate.productSums + widestTile * max(128, network.stages.map(\.outputColumns).max() ?? 0)
    scratchPerMember = MemberSpacing.spaced(scratch, of: Scalar.self)
    scratchMemory = AlignedBuffer(zeroedCapacity: threads * scratchPerMember)
    stages = memory.stages
    let trained = stages[..<trainingStages]
    kernelWeights = (0..<threads).map { member in
      trained.reduce(0) { sum, stage in
        TileGrid.owned(by: member, of: threads, count: stage.tileCount).reduce(sum) {
          $0 + (stage.tiles[$1].kernel == nil ? 0 : stage.input.columns * stage.tiles[$1].kernelStride)
        }
      }
    }
    wholeOperations = memory.wholeOperations
    byteInputs = ByteInputs(
      network: network, store: store, table: table, capacity: capacity, members: threads)
    wide = WideProducts(stages: memory.stages, table: table, capacity: capacity, members: threads)
    sparse = SparseProducts(stages: memory.stages, table: table, capacity: capacity, members: threads)
    inputs = InputCopies(of: memory.inputs, network: network, members: threads)
    labels = memory.labels
    targets = memory.targets
    stepGuard =
      isGuarded ? StepGuard(store: store, table: table, members: threads, stages: trainingStages) : nil
  }

  /// What the last stage made: rows of outputs for `samples` samples.
  package func output(samples: Int) -> MatrixView<Scalar> {
    let last = stages[stages.count - 1]
    return last.output.rows(0..<samples * last.outputRowsPerSample)
  }

  /// Forward, loss, backward and update on the samples of `source` that `indices` names.
  ///
  /// The `upcoming` indices after them, if any, name the next batch, which is fetched into the cache meanwhile.
  package func train(
    _ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int, upcoming: Int = 0, rule: UpdateRule,
    step: Int
  ) -> LossSums {
    update = BoundUpdate(rule: rule, step: step)
    stepGuard?.set(rule: rule, step: step)
    self.upcoming = upcoming
    return run(.train, source, indices, samples, step)
  }

  /// Forward, loss and backward without an update: the gradients are left in the store.
  package func computeGradients(
    _ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int, step: Int
  ) -> LossSums {
    update = nil
    return run(.gradients, source, indices, samples, step)
  }

  /// Forward in inference mode; read `output(samples:)` after it.
  package func infer(_ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int) {
    _ = run(.infer, source, indices, samples, 0)
  }

  /// Forward in inference mode, and the loss.
  package func evaluate(
    _ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int
  ) -> LossSums {
    run(.evaluate, source, indices, samples, 0)
  }

  /// Forward in training mode without a loss; read `output(samples:)` after it.
  ///
  /// Moving statistics follow the batch.
  package func observe(_ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int, step: Int) {
    _ = run(.observe, source, indices, samples, step)
  }

  /// Forward in training mode, and the loss; moving statistics follow the batch.
  package func assess(
    _ source: BatchSource<Scalar>, indices: UnsafePointer<Int32>, samples: Int, step: Int
  ) -> LossSums {
    run(.assess, source, indices, samples, step)
  }

  /// The inputs of the last batch, a row per sample.
  package func batchInputs(samples: Int) -> MatrixView<Scalar> {
    let result = inputs.first.rows(0..<samples)
    if let bytes {
      for row in 0..<samples {
        let values = result.base + row * result.stride
        for column in 0..<result.columns { values[column] = bytes.input(row: row, column: column) }
      }
    }
    return result
  }

  private func run(
    _ task: Task, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int, _ step: Int
  ) -> LossSums {
    precondition(samples > 0 && samples <= capacity, "\(samples) samples for a plan of \(capacity)")
    self.source = source
    self.indices = indices
    self.step = step
    sampleCount = samples
    let renewsDigits = task == .train && (update?.adam == nil || byteInputs?.fusesAdam == false)
    bytes =
      byteInputs?.begins(
        source.inputs, samples: samples, renewsDigits: renewsDigits, weightsVersion: store.weightsVersion) == true
      ? byteInputs : nil
    inputs.use(bytes == nil && source.inputs.areBytes)
    let normalizations = store.normalizations
    if source.statisticsWeights != nil || normalizations.hasWeights { setWeights(source, indices, samples) }
    if task == .train { stepGuard?.begin() }
    if normalizations.needsPreparation, task != .infer, task != .evaluate {
      normalizations.prepare(step: step, store: store)
    }
    hasFrozenParameters = normalizations.hasFrozenParameters
    penalty = 0
    if normalizations.hasPenalties, task != .infer { perform(.penalize) }
    self.task = task
    team.run(self)
    if task == .train {
      stepGuard?.end(loss: sums.loss)
      store.weightsVersion += 1
      bytes?.ends(weightsVersion: stepWasUndone ? nil : store.weightsVersion)
    }
    if normalizations.hasConstraints, task == .train, !stepWasUndone { perform(.constrain) }
    // The loss is a sum over rows, of which the mean is reported.
    if penalty > 0 { sums.loss += penalty * Double(samples * stages[trainingStages - 1].outputRowsPerSample) }
    return sums
  }

  /// Does `task` on this thread, in specialized code.
  func perform(_ task: Task) {
    self.task = task
    Scalar.work(on: self, member: 0)
  }

  /// Hands the weights of the batch at hand to the normalizations, or takes the last ones away.
  private func setWeights(_ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int) {
    guard let all = source.statisticsWeights, task == .train || task == .gradients else {
      return store.normalizations.setWeights(nil)
    }
    if statisticsWeights.capacity < samples { statisticsWeights = AlignedBuffer(uninitializedCapacity: capacity) }
    let weights = statisticsWeights.baseAddress
    var sum = 0.0
    var positive = 0
    for sample in 0..<samples {
      weights[sample] = all[Int(indices[sample])]
      sum += weights[sample]
      if weights[sample] > 0 { positive += 1 }
    }
    store.normalizations.setWeights((values: UnsafePointer(weights), sum: sum, positive: positive))
  }

  /// Memory of one member's own.
  @inline(__always)
  func scratch(of member: Int) -> UnsafeMutablePointer<Scalar> {
    scratchMemory.baseAddress + member * scratchPerMember
  }

  func work(member: Int) { Scalar.work(on: self, member: member) }
}
