import Kernels
import LinearAlgebra

/// What a plan needs to undo a step in which a number is not finite.
///
/// Running statistics are copied before the step. Weights are updated only after the loss, the inputs and gradients of
/// all stages and the running statistics have been seen to be finite. Their norms bound the gradients of the kernels
/// (Cauchy and Schwarz), and with `StateBounds` mostly prove that the update cannot overflow; where they do not, weights
/// and moments are copied before it and looked at after it.
final class StepGuard<Scalar: NetworkScalar> {
  /// Whether the last step was undone.
  private(set) var rejected = false
  /// The last stage whose gradient was not finite in the last step, or nil.
  private(set) var gradientStage: Int?
  /// Names of the running statistics that the last step, undone, had made not finite.
  private(set) var statistics: [String] = []

  private let store: ParameterStore<Scalar>
  private let table: KernelTable<Scalar>
  private let members: Int
  private let stages: Int
  private let savedState: AlignedBuffer<Scalar>
  private let savedWeights: AlignedBuffer<Scalar>
  /// Sums of squares by member and stage (inputs, gradients, vectors), then of the running state; members a line apart.
  private let sums: AlignedBuffer<Double>
  private let spacing: Int
  /// By member, a line apart: whether what it updated is not finite.
  private let overflows: AlignedBuffer<Double>

  private var rule = UpdateRule.sgd(learningRate: 0)
  private var step = 0
  private var bounds = StateBounds(weights: .infinity, vectors: (0, 0, 0))

  /// Beyond it something may overflow in an update that the bounds call finite.
  private static var limit: Double { Double(Scalar.greatestFiniteMagnitude) * 0x1p-40 }

  init(store: ParameterStore<Scalar>, table: KernelTable<Scalar>, members: Int, stages: Int) {
    self.store = store
    self.table = table
    self.members = members
    self.stages = stages
    savedState = AlignedBuffer(zeroedCapacity: store.state.capacity)
    savedWeights = AlignedBuffer(zeroedCapacity: store.weights.capacity + store.optimizerState.capacity)
    spacing = (3 * stages + 1 + 15) / 16 * 16
    sums = AlignedBuffer(zeroedCapacity: members * spacing)
    overflows = AlignedBuffer(zeroedCapacity: members * 16)
  }

  // MARK: Calling thread

  /// What the next step's update will be.
  func set(rule: UpdateRule, step: Int) {
    self.rule = rule
    self.step = step
  }

  /// Before the step, and before anything that counts batches.
  func begin() {
    rejected = false
    gradientStage = nil
    savedState.baseAddress.update(from: store.state.baseAddress, count: store.state.capacity)
    if let known = store.bounds {
      bounds = known
    } else {
      func norm(_ base: UnsafePointer<Scalar>) -> Double {
        table.reductions.sumOfSquares(base, store.weights.capacity).squareRoot()
      }
      let vectors = store.weights.capacity == 0 ? 0 : store.optimizerState.capacity / store.weights.capacity
      func vector(_ index: Int) -> Double { index < vectors ? norm(store.stateVector(index)) : 0 }
      // At least 1, which a constraint to norm 1 may bring a weight to.
      bounds = StateBounds(
        weights: max(norm(store.weights.baseAddress), 1), vectors: (vector(0), vector(1), vector(2)))
    }
  }

  /// After the step and before what follows updates: puts running statistics back where it was undone.
  func end(loss: Double) {
    switch verdict(loss: loss) {
    case .bad: rejected = true
    case .proven(let after): store.bounds = after
    case .open:
      rejected = anyOverflow()
      store.bounds = nil
    }
    guard rejected else { return }
    let made = store.slots.indices.filter { index in
      !store.slots[index].specification.isTrainable && !store.read(index).allSatisfy(\.isFinite)
    }
    statistics = made.map { store.slots[$0].name }
    store.state.baseAddress.update(from: savedState.baseAddress, count: savedState.capacity)
    gradientStage = (0..<stages).last { total($0, .gradients).isNaN || total($0, .vectors).isNaN }
  }

  // MARK: Members

  /// What is summed for each stage.
  enum Part: Int {
    case inputs, gradients, vectors
  }

  enum Verdict {
    /// Something is not finite: no update.
    case bad
    /// The update cannot overflow, and leaves these bounds.
    case proven(StateBounds)
    /// The update may overflow.
    case open
  }

  func set(_ member: Int, _ stage: Int, _ part: Part, _ value: Double) {
    sums.baseAddress[member * spacing + 3 * stage + part.rawValue] = value
  }

  /// Looks at the running statistics; for member 0.
  func inspectState() {
    sums.baseAddress[3 * stages] = sumOfSquares(store.state.baseAddress, store.state.capacity)
  }

  /// Σ x², NaN where an element is not finite; infinite where only the sum is too large.
  @inline(__always)
  func sumOfSquares(_ base: UnsafePointer<Scalar>, _ count: Int) -> Double {
    guard count > 0 else { return 0 }
    let sum = table.reductions.sumOfSquares(base, count)
    if sum.isFinite { return sum }
    return table.reductions.allFinite(base, count) ? .infinity : .nan
  }

  /// The same over a view; rows may lie apart.
  @inline(__always)
  func sumOfSquares(_ view: MatrixView<Scalar>) -> Double {
    var sum = 0.0
    for row in 0..<view.rows { sum += sumOfSquares(view.base + row * view.stride, view.columns) }
    return sum
  }

  private func total(_ stage: Int, _ part: Part) -> Double {
    var sum = 0.0
    for member in 0..<members { sum += sums.baseAddress[member * spacing + 3 * stage + part.rawValue] }
    return sum
  }

  /// What the sums say: the same on every member once all have passed a barrier.
  func verdict(loss: Double) -> Verdict {
    if !loss.isFinite || sums.baseAddress[3 * stages].isNaN { return .bad }
    var gradient = 0.0
    for stage in 0..<stages {
      let (inputs, gradients, vectors) = (total(stage, .inputs), total(stage, .gradients), total(stage, .vectors))
      if inputs.isNaN || gradients.isNaN || vectors.isNaN { return .bad }
      gradient = max(gradient, inputs.squareRoot() * gradients.squareRoot(), vectors.squareRoot())
    }
    let after = bounds.after(rule, step: step, gradient: gradient)
    return gradient < Self.limit && after.areBelow(Self.limit) ? .proven(after) : .open
  }

  /// Copies `region` of the weights and of each optimizer vector, or puts the copies back.
  func save(_ region: Range<Int>) {
    forEachVector { vector, copy in
      (copy + region.lowerBound).update(from: vector + region.lowerBound, count: region.count)
    }
  }

  func restore(_ region: Range<Int>) {
    forEachVector { vector, copy in
      (vector + region.lowerBound).update(from: copy + region.lowerBound, count: region.count)
    }
  }

  /// Whether `region` of the weights and of each optimizer vector is finite.
  func isFinite(_ region: Range<Int>) -> Bool {
    guard !region.isEmpty else { return true }
    var result = true
    forEachVector { vector, _ in result = table.reductions.allFinite(vector + region.lowerBound, region.count) && result
    }
    return result
  }

  func noteOverflow(_ member: Int, _ overflow: Bool) { overflows.baseAddress[member * 16] = overflow ? 1 : 0 }

  func anyOverflow() -> Bool {
    for member in 0..<members where overflows.baseAddress[member * 16] != 0 { return true }
    return false
  }

  @inline(__always)
  private func forEachVector(_ body: (UnsafeMutablePointer<Scalar>, UnsafeMutablePointer<Scalar>) -> Void) {
    body(store.weights.baseAddress, savedWeights.baseAddress)
    let length = store.weights.capacity
    var offset = 0
    while offset < store.optimizerState.capacity {
      body(store.optimizerState.baseAddress + offset, savedWeights.baseAddress + length + offset)
      offset += length
    }
  }
}

extension ExecutionPlan {
  /// Kernel gradients and updates of `member`, where all is finite; nothing otherwise.
  func finishGuarded(_ member: Int, _ stepGuard: StepGuard<Scalar>) {
    inspect(member, stepGuard)
    team.barrier(member)
    switch stepGuard.verdict(loss: sums.loss) {
    case .bad: return
    case .proven: finish(member)
    case .open:
      forEachRegion(of: member) { stepGuard.save($0) }
      finish(member)
      var overflows = false
      forEachRegion(of: member) { if !stepGuard.isFinite($0) { overflows = true } }
      stepGuard.noteOverflow(member, overflows)
      team.barrier(member)
      if stepGuard.anyOverflow() { forEachRegion(of: member) { stepGuard.restore($0) } }
    }
  }

  /// Sums the squares of this member's share of what the update will use.
  private func inspect(_ member: Int, _ stepGuard: StepGuard<Scalar>) {
    if member == 0 { stepGuard.inspectState() }
    for index in 0..<trainingStages {
      let stage = stages[index]
      let inputRows = sampleCount * stage.inputRowsPerSample
      let share = member * inputRows / threads..<(member + 1) * inputRows / threads
      if index == 0, let bytes {
        // Bytes are finite, and the bound is all that is asked for.
        let largest = 255 * bytes.scale
        stepGuard.set(member, index, .inputs, Double(share.count * stage.input.columns) * largest * largest)
      } else {
        stepGuard.set(member, index, .inputs, stepGuard.sumOfSquares(input(of: index, member).rows(share)))
      }
      let rows = sampleCount * stage.outputRowsPerSample
      var gradients = 0.0
      var vectors = 0.0
      for tile in TileGrid.owned(by: member, of: threads, count: stage.tileCount) {
        let bound = stage.tiles[tile]
        if stage.isTiled {
          gradients += stepGuard.sumOfSquares(stage.outputGradient.columns(bound.columns).rows(0..<rows))
        }
        let start = bound.region.lowerBound + (bound.kernel == nil ? 0 : stage.input.columns * bound.kernelStride)
        vectors += stepGuard.sumOfSquares(store.gradients.baseAddress + start, bound.region.upperBound - start)
      }
      if !stage.isTiled && member == 0 { gradients = stepGuard.sumOfSquares(stage.outputGradient.rows(0..<rows)) }
      stepGuard.set(member, index, .gradients, gradients)
      stepGuard.set(member, index, .vectors, vectors)
    }
  }

  private func forEachRegion(of member: Int, _ body: (Range<Int>) -> Void) {
    for index in 0..<trainingStages {
      for tile in TileGrid.owned(by: member, of: threads, count: stages[index].tileCount) {
        body(stages[index].tiles[tile].region)
      }
    }
  }
}
