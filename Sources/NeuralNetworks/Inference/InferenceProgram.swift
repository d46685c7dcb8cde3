import Kernels
import LinearAlgebra

/// A graph bound to memory: what every call of a predictor runs and none changes.
final class InferenceProgram<Scalar: NetworkScalar>: @unchecked Sendable {
  let inputCount: Int
  let outputCount: Int
  /// Samples that pass through all steps together, while their activations are in the cache.
  let blockSamples: Int
  let steps: UnsafeMutableBufferPointer<InferenceStep<Scalar>>
  let customOperations: [CustomInference<Scalar>]
  let table: KernelTable<Scalar>
  let kernels: InferenceKernels<Scalar>
  /// Multiply-adds of one sample.
  let work: Int
  /// Multiply-adds of one sample in the largest product whose columns members can share; 0 where that does not pay.
  let largestSharedProduct: Int
  /// Whether the last step is a softmax with something before it, which a loss can take the place of.
  let endsInSoftmax: Bool
  /// Scalars of scratch memory: of a block's inputs where they are converted, and of each of `scratchCount` activations.
  let convertedStride: Int
  let scratchScalars: Int
  let scratchCount: Int
  /// Multiplies what a ReLU leaves; nil where no step gains by it.
  let lists: ListedPanels<Scalar>?
  /// The fewest rows for which it may: a number, because looking at `lists` takes longer than a short step.
  let fewestListedRows: Int
  /// Multiplies inputs that are images; nil where none are expected to gain by it.
  let images: ImageInputs<Scalar>?

  private var memory: [AlignedBuffer<Scalar>] = []

  var stepCount: Int { steps.count }

  /// Binds `graph`; layers of a user's see up to `maximumBatch` samples at once.
  init(_ graph: InferenceGraph<Scalar>, maximumBatch: Int) {
    table = graph.table
    kernels = InferenceKernels(graph.table)
    inputCount = graph.inputShape.reduce(1, *)
    outputCount = graph.outputShape.reduce(1, *)
    let mostRows = graph.operations.reduce(1) { max($0, $1.inputRows, $1.outputRows) }
    // Four blocks of rows of a product: the panel of weights that they share stays in the L2 cache. All weights, where they
    // do not, come from afar for each block of samples: the more of these, the less often.
    let blockRows = 4 * graph.table.products.blockRows()
    let rows =
      graph.weightBytes > Self.mostNearBytes ? max(blockRows, SparseProductKernels<Scalar>.rowsTogether) : blockRows
    blockSamples = graph.hasCustomLayers ? maximumBatch : max(1, rows / mostRows)
    var memory: [AlignedBuffer<Scalar>] = []
    var binder = InferenceBinder(kernels: graph.table, operations: graph.operations)
    let bound = binder.steps(&memory)
    self.memory = memory
    customOperations = binder.customOperations
    work = bound.reduce(0) { $0 + $1.multiplyAdds }
    endsInSoftmax = bound.count > 1 && bound[bound.count - 1].kind == .softmax
    convertedStride = bound[0].inputRows == 1 ? PlanArena<Scalar>.stride(of: inputCount) : inputCount
    let largest = bound.reduce(0) { most, step in
      step.destination == .output ? most : max(most, step.outputRows * step.outputStride)
    }
    scratchCount = bound.reduce(0) { most, step in
      if case .scratch(let index) = step.destination { max(most, index + 1) } else { most }
    }
    scratchScalars = (blockSamples * largest + 63) / 32 * 32
    lists = ListedPanels(bound, blockSamples: blockSamples, table: table)
    fewestListedRows = lists == nil ? Int.max : ListedPanels<Scalar>.fewestRows.ofFar
    images = blockSamples <= ImageInputs<Scalar>.mostSamples ? Self.images(graph, bound) : nil
    let leastFirst = images == nil ? 0 : Self.leastSharedImageProduct
    let shared = bound.enumerated().filter { index, step in
      step.hasSharedColumns && (index > 0 || step.multiplyAdds >= leastFirst)
    }.map(\.element.multiplyAdds)
    // Where most of the work is not to be shared, nothing is gained by the rest.
    largestSharedProduct = 2 * shared.reduce(0, +) < work ? 0 : shared.max() ?? 0
    steps = .allocate(capacity: bound.count)
    _ = steps.initialize(from: bound)
  }

  deinit { steps.deallocate() }

  /// The most bytes of weights that come from caches near by for every block of samples.
  private static var mostNearBytes: Int { 2 << 20 }

  /// Multiply-adds below which a product is not shared by columns: waiting for each other takes as long as 10,000 or so.
  static var leastSharedProduct: Int { 1 << 16 }
  /// The same for a product that images take another way, which is so fast that to time it would show.
  private static var leastSharedImageProduct: Int { 1 << 19 }

  /// Nil also where anything but the first product reads the inputs.
  private static func images(
    _ graph: InferenceGraph<Scalar>, _ steps: [InferenceStep<Scalar>]
  ) -> ImageInputs<Scalar>? {
    guard case .dense(let dense)? = graph.operations.first?.kind, steps[0].inputRows == 1,
      !steps.contains(where: { $0.kind == .addition && $0.shortcut == .input })
    else { return nil }
    return ImageInputs(kernel: dense.kernel.view, table: graph.table)
  }
}

/// The kernels that a prediction calls, copied out of the table so that calling one touches no shared reference count.
struct InferenceKernels<Scalar: NetworkScalar>: Sendable {
  let multiply: @Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>, MatrixView<Scalar>) -> Void
  let activate:
    @Sendable (MatrixView<Scalar>, UnsafePointer<Scalar>?, MatrixView<Scalar>, ElementwiseActivation, Double) -> Void
  let softmax: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>) -> Void
  let add: @Sendable (MatrixView<Scalar>, MatrixView<Scalar>, MatrixView<Scalar>, Bool, BitMatrixView?) -> Void
  let normalize:
    @Sendable (
      MatrixView<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>, UnsafePointer<Scalar>?,
      UnsafePointer<Scalar>?, MatrixView<Scalar>, Bool, BitMatrixView?, Bool
    ) -> Void

  init(_ table: KernelTable<Scalar>) {
    multiply = table.products.multiply
    activate = table.activations.forward
    softmax = table.activations.softmax
    add = table.batchNormalization.add
    normalize = table.batchNormalization.normalize
  }
}

/// One step of a program: plain values, so that running it counts no references and allocates nothing.
struct InferenceStep<Scalar: NetworkScalar> {
  enum Kind {
    /// f(x·W + b).
    case dense
    case activation
    /// γ·(x − μ)/√(σ² + ε) + β, and ReLU where `activation` says so.
    case normalization
    case softmax
    /// x + shortcut, and ReLU where `activation` says so.
    case addition
    case custom
  }

  /// A matrix that a step reads or writes.
  enum Place: Equatable {
    case input
    case scratch(Int)
    case output
  }

  var kind: Kind
  var inputRows: Int
  var inputColumns: Int
  var outputRows: Int
  var outputColumns: Int
  var source = Place.input
  var destination = Place.output
  var inputStride = 0
  var outputStride = 0

  var weights: UnsafePointer<Scalar>?
  var bias: UnsafePointer<Scalar>?
  var activation = ElementwiseActivation.linear
  var alpha = 0.0
  var mean: UnsafePointer<Scalar>?
  var meanLow: UnsafePointer<Scalar>?
  var inverseDeviation: UnsafePointer<Scalar>?
  var gamma: UnsafePointer<Scalar>?
  var beta: UnsafePointer<Scalar>?
  var customIndex = 0
  /// What an addition adds to its input.
  var shortcut = Place.input
  var shortcutStride = 0

  /// Whether the output may take the place of the input.
  var worksInPlace: Bool { kind != .dense && kind != .custom }

  /// Multiply-adds of a sample.
  var multiplyAdds: Int { kind == .dense ? outputRows * inputColumns * outputColumns : 0 }

  /// Whether members can share the columns.
  var hasSharedColumns: Bool { kind == .dense && outputColumns > Self.columnsTogether }

  /// Columns of which a multiple begins a panel of weights, whatever the instruction set.
  static var columnsTogether: Int { 32 }

  /// The same for some columns of the output, of which the first begins a panel of weights.
  @inline(__always)
  func columns(_ range: Range<Int>) -> InferenceStep {
    let first = range.lowerBound
    var part = self
    part.outputColumns = range.count
    part.weights = weights.map { $0 + first * inputColumns }
    part.bias = bias.map { $0 + first }
    part.mean = mean.map { $0 + first }
    part.meanLow = meanLow.map { $0 + first }
    part.inverseDeviation = inverseDeviation.map { $0 + first }
    part.gamma = gamma.map { $0 + first }
    part.beta = beta.map { $0 + first }
    return part
  }
}

/// A user's layer with its parameters.
struct CustomInference<Scalar: NetworkScalar>: @unchecked Sendable {
  let layer: any CustomLayer<Scalar>
  let parameters: [MatrixView<Scalar>]
  private let owners: [ParameterMatrix<Scalar>]

  init(layer: any CustomLayer<Scalar>, parameters: [ParameterMatrix<Scalar>]) {
    self.layer = layer
    self.parameters = parameters.map(\.view)
    owners = parameters
  }
}

/// Turns a graph's operations into steps with memory.
struct InferenceBinder<Scalar: NetworkScalar> {
  let kernels: KernelTable<Scalar>
  let operations: [InferenceGraph<Scalar>.Operation]
  private(set) var customOperations: [CustomInference<Scalar>] = []
  /// By the number of a residual: the step whose output is added further on (−1: the input), and the step that adds it.
  private var shortcuts: [Int: (source: Int, addition: Int)] = [:]

  init(kernels: KernelTable<Scalar>, operations: [InferenceGraph<Scalar>.Operation]) {
    self.kernels = kernels
    self.operations = operations
  }

  /// The steps; `memory` keeps what they point to.
  mutating func steps(_ memory: inout [AlignedBuffer<Scalar>]) -> [InferenceStep<Scalar>] {
    var steps: [InferenceStep<Scalar>] = []
    for operation in operations { append(operation, to: &steps, &memory) }
    place(&steps)
    return steps
  }

  private mutating func append(
    _ operation: InferenceGraph<Scalar>.Operation, to steps: inout [InferenceStep<Scalar>],
    _ memory: inout [AlignedBuffer<Scalar>]
  ) {
    func step(_ kind: InferenceStep<Scalar>.Kind) -> InferenceStep<Scalar> {
      InferenceStep(
        kind: kind, inputRows: operation.inputRows, inputColumns: operation.inputColumns,
        outputRows: operation.outputRows, outputColumns: operation.outputColumns)
    }
    switch operation.kind {
    case .dense(let dense):
      var bound = step(.dense)
      let packed = AlignedBuffer<Scalar>(
        uninitializedCapacity: kernels.products.packedCount(dense.kernel.rows, dense.kernel.columns))
      kernels.products.pack(dense.kernel.view, packed.baseAddress)
      memory.append(packed)
      bound.weights = UnsafePointer(packed.baseAddress)
      bound.bias = dense.bias.map { vector($0, &memory) }
      steps.append(bound)
    case .activation(let kind, let alpha):
      if let last = steps.last,
        last.kind == .dense || kind == .relu && (last.kind == .normalization || last.kind == .addition),
        last.activation == .linear, last.outputColumns == operation.inputColumns, !isShortcut(steps.count - 1)
      {
        // Part of the step before it, while its outputs are in the L1 cache.
        steps[steps.count - 1].activation = kind
        steps[steps.count - 1].alpha = alpha
      } else {
        var bound = step(.activation)
        bound.activation = kind
        bound.alpha = alpha
        steps.append(bound)
      }
    case .normalization(let normalization):
      var bound = step(.normalization)
      let columns = operation.inputColumns
      func spread(_ values: [Double]) -> UnsafePointer<Scalar> {
        vector(normalization.spread(values, columns: columns), &memory)
      }
      let inverse = AlignedBuffer<Scalar>(uninitializedCapacity: columns)
      kernels.batchNormalization.inverseDeviation(
        spread(normalization.variance), normalization.epsilon, inverse.baseAddress, columns)
      memory.append(inverse)
      bound.inverseDeviation = UnsafePointer(inverse.baseAddress)
      bound.mean = spread(normalization.mean)
      bound.meanLow = vector([Double](repeating: 0, count: columns), &memory)
      bound.gamma = normalization.gamma.map(spread)
      bound.beta = normalization.beta.map(spread)
      steps.append(bound)
    case .softmax:
      steps.append(step(.softmax))
    case .shortcut(let residual):
      shortcuts[residual] = (steps.count - 1, 0)
    case .addition(let residual):
      shortcuts[residual]?.addition = steps.count
      steps.append(step(.addition))
    case .custom(let layer, let parameters):
      var bound = step(.custom)
      bound.customIndex = customOperations.count
      customOperations.append(CustomInference(layer: layer, parameters: parameters))
      steps.append(bound)
    }
  }

  private func vector(_ values: [Double], _ memory: inout [AlignedBuffer<Scalar>]) -> UnsafePointer<Scalar> {
    let buffer = AlignedBuffer<Scalar>(uninitializedCapacity: values.count)
    Scalar.unsafeRound(values.count, values, buffer.baseAddress)
    memory.append(buffer)
    return UnsafePointer(buffer.baseAddress)
  }

  /// Whether what step `index` makes is added further on, and so stays as it is.
  private func isShortcut(_ index: Int) -> Bool { shortcuts.values.contains { $0.source == index } }

  /// Decides where each step reads and writes: products, users' layers and what follows a shortcut from one scratch
  /// matrix to another, the rest in place, all from the last of these on in the caller's output.
  private func place(_ steps: inout [InferenceStep<Scalar>]) {
    let starts = steps.indices.filter { $0 == 0 || !steps[$0].worksInPlace || isShortcut($0 - 1) }
    var source = InferenceStep<Scalar>.Place.input
    var stride: Int? = steps[0].inputColumns
    /// Where each step's output lies, and how far its rows lie apart; nil: without gaps.
    var places: [(place: InferenceStep<Scalar>.Place, stride: Int?)] = []
    for (number, start) in starts.enumerated() {
      let isLast = number == starts.count - 1
      let end = isLast ? steps.count : starts[number + 1]
      // Not where the input lies, nor where something waits to be added.
      var taken = [source]
      for shortcut in shortcuts.values where shortcut.addition >= start && (0..<start).contains(shortcut.source) {
        taken.append(places[shortcut.source].place)
      }
      var scratch = 0
      while taken.contains(.scratch(scratch)) { scratch += 1 }
      let destination: InferenceStep<Scalar>.Place = isLast ? .output : .scratch(scratch)
      // Rows lie apart for the cache's sake where every step agrees on what a row is.
      let columns = steps[start].outputColumns
      let agree =
        steps[start].outputRows == 1
        && steps[start..<end].allSatisfy { $0.outputRows == 1 && $0.outputColumns == columns }
        && (isLast || steps[end].inputRows == 1 && steps[end].inputColumns == columns)
      let own = isLast || !agree ? nil : PlanArena<Scalar>.stride(of: columns)
      for index in start..<end {
        steps[index].source = index == start ? source : destination
        steps[index].inputStride = (index == start ? stride : own) ?? steps[index].inputColumns
        steps[index].destination = destination
        steps[index].outputStride = own ?? steps[index].outputColumns
        places.append((destination, own))
      }
      (source, stride) = (destination, own)
    }
    for shortcut in shortcuts.values {
      let step = shortcut.addition
      let values = shortcut.source < 0 ? (.input, nil) : places[shortcut.source]
      steps[step].shortcut = values.place
      steps[step].shortcutStride = values.stride ?? steps[step].inputColumns
    }
  }
}
