import CPUFeatures
import Kernels
import LinearAlgebra
import Synchronization

/// One call of a predictor at a time: its inputs and outputs, and scratch memory for the members that work on it.
///
/// Members take blocks of samples until none is left; a block passes through all steps in the cache of one core, and
/// nothing is waited for but the end. Of a single block they can share each wide product's columns instead. Which member
/// computes what does not change its bits.
public final class PredictionJob<Scalar: NetworkScalar>: TeamJob, @unchecked Sendable {
  let program: InferenceProgram<Scalar>
  let members: Int
  private let scratch: AlignedBuffer<Scalar>
  private let scratchPerMember: Int
  /// Scalars of a block's inputs, before the activations.
  private let convertedScalars: Int
  private let indices: AlignedBuffer<Int32>
  /// Samples of bytes, for each member.
  private let imageRows: AlignedBuffer<UInt8>
  private let imageBytesPerMember: Int
  /// Lists of what a product multiplies, for each member.
  private let lists: AlignedBuffer<UInt8>
  private let listBytesPerMember: Int
  private let nextSample = Atomic<Int>(0)

  // The call at hand.
  private var inputs: BatchSource<Scalar>.Inputs
  private var output: UnsafeMutablePointer<Scalar>
  private(set) var samples = 0
  private var samplesPerPiece = 1
  private(set) var stepCount = 0
  /// The team that shares columns, for its barrier; nil where samples are shared.
  private unowned(unsafe) var columnTeam: WorkerTeam?
  /// The processor that the other members are to leave to the caller, or -1.
  private(set) var callersProcessor: Int32 = -1

  /// Multiply-adds from which on a product's columns are shared.
  let leastSharedProduct: Int

  /// Scratch memory for `members` members.
  init(
    program: InferenceProgram<Scalar>, members: Int,
    leastSharedProduct: Int = InferenceProgram<Scalar>.leastSharedProduct
  ) {
    self.program = program
    self.members = members
    self.leastSharedProduct = leastSharedProduct
    convertedScalars = (program.blockSamples * program.convertedStride + 31) / 32 * 32
    scratchPerMember = MemberSpacing.spaced(
      convertedScalars + program.scratchCount * program.scratchScalars, of: Scalar.self)
    scratch = AlignedBuffer(uninitializedCapacity: members * scratchPerMember + 32)
    indices = AlignedBuffer(uninitializedCapacity: program.blockSamples)
    for index in 0..<program.blockSamples { indices.baseAddress[index] = Int32(index) }
    imageBytesPerMember = MemberSpacing.spaced(program.blockSamples * (program.images?.stride ?? 0), of: UInt8.self)
    imageRows = AlignedBuffer(zeroedCapacity: members * imageBytesPerMember)
    listBytesPerMember = MemberSpacing.spaced(program.lists?.bytes ?? 0, of: UInt8.self)
    lists = AlignedBuffer(uninitializedCapacity: members * listBytesPerMember)
    inputs = .scalars(scratch.baseAddress)
    output = scratch.baseAddress
  }

  /// Runs the first `steps` steps for `samples` samples on the calling thread.
  func runAlone(
    _ inputs: BatchSource<Scalar>.Inputs, samples: Int, into output: UnsafeMutablePointer<Scalar>, steps: Int
  ) {
    prepare(inputs, samples, output, steps, sharedBy: 1)
    // As the members of a team do: the bits are to be the same.
    let mode = lamina_flush_subnormals()
    Scalar.work(on: self, member: 0)
    lamina_restore_float_mode(mode)
  }

  /// The same, shared by the members of `team`, which must have as many as the job has room for.
  ///
  /// - Parameter byColumns: whether they share the columns of products rather than samples, of which there is then no more
  ///   than a block.
  /// - Parameter movesApart: whether a member that finds itself on the caller's processor goes to another.
  func run(
    on team: WorkerTeam, _ inputs: BatchSource<Scalar>.Inputs, samples: Int,
    into output: UnsafeMutablePointer<Scalar>, steps: Int, byColumns: Bool = false, movesApart: Bool = false
  ) {
    prepare(inputs, samples, output, steps, sharedBy: members)
    columnTeam = byColumns ? team : nil
    callersProcessor = movesApart ? lamina_current_processor() : -1
    team.run(self)
  }

  private func prepare(
    _ inputs: BatchSource<Scalar>.Inputs, _ samples: Int, _ output: UnsafeMutablePointer<Scalar>, _ steps: Int,
    sharedBy members: Int
  ) {
    self.inputs = inputs
    self.output = output
    self.samples = samples
    stepCount = steps
    let blocks = (samples + program.blockSamples - 1) / program.blockSamples
    // Equal pieces, as many for each member.
    let pieces = (blocks + members - 1) / members * members
    samplesPerPiece = max(1, (samples + pieces - 1) / max(pieces, 1))
    nextSample.store(0, ordering: .relaxed)
  }

  func work(member: Int) { Scalar.work(on: self, member: member) }

  /// Takes pieces until none is left, or columns.
  @inline(__always)
  func performWork(member: Int) {
    if let columnTeam { return shareColumns(member, columnTeam) }
    let base = scratch.baseAddress + member * scratchPerMember
    while true {
      let first = nextSample.add(samplesPerPiece, ordering: .relaxed).oldValue
      if first >= samples { return }
      runBlock(
        first, min(samplesPerPiece, samples - first), base, imageRows.baseAddress + member * imageBytesPerMember,
        listMemory(member))
    }
  }

  /// All steps for `count` samples from `first`; in one piece, where a call of each step would count references.
  @inline(__always)
  private func runBlock(
    _ first: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Scalar>, _ imageRows: UnsafeMutablePointer<UInt8>,
    _ lists: UnsafeMutablePointer<UInt8>
  ) {
    let program = program
    let activations = scratch + convertedScalars
    let images = blockImages(first, count, imageRows)
    let (input, inputStride) = images.isWhole ? (scratch, 0) : blockInput(first, count, scratch)
    @inline(__always)
    func base(_ place: InferenceStep<Scalar>.Place) -> UnsafeMutablePointer<Scalar> {
      switch place {
      case .input: input
      case .scratch(let index): activations + index * program.scratchScalars
      case .output: output + first * program.outputCount
      }
    }
    for index in 0..<stepCount {
      let step = program.steps[index]
      let x = MatrixView(
        base: base(step.source), rows: count * step.inputRows, columns: step.inputColumns,
        stride: step.source == .input && step.inputRows == 1 ? inputStride : step.inputStride)
      let y = MatrixView(
        base: base(step.destination), rows: count * step.outputRows, columns: step.outputColumns,
        stride: step.outputStride)
      if index == 0, images.samples != 0, let weights = step.weights {
        multiply(x, weights, images, into: y)
        finishDense(step, y)
        continue
      }
      run(
        step, x, y, lists,
        shortcut: MatrixView(
          base: base(step.shortcut), rows: x.rows, columns: x.columns,
          stride: step.shortcut == .input && step.inputRows == 1 ? inputStride : step.shortcutStride))
    }
  }

  /// A block of samples that members share by columns, and where its matrices lie.
  struct Block {
    let count: Int
    let input: UnsafeMutablePointer<Scalar>
    let inputStride: Int
    let activations: UnsafeMutablePointer<Scalar>
    let output: UnsafeMutablePointer<Scalar>
    let images: BlockImages
    let lists: UnsafeMutablePointer<UInt8>
  }

  /// Where `member` lists what its products multiply.
  @inline(__always)
  private func listMemory(_ member: Int) -> UnsafeMutablePointer<UInt8> {
    lists.baseAddress + member * listBytesPerMember
  }

  /// The block that `member` sees: activations lie in one place, inputs that are converted, images and lists in one of
  /// each member's own.
  @inline(__always)
  func sharedBlock(_ member: Int) -> Block {
    let converted = scratch.baseAddress + member * scratchPerMember
    let images = blockImages(0, samples, imageRows.baseAddress + member * imageBytesPerMember)
    let (input, inputStride) = images.isWhole ? (converted, 0) : blockInput(0, samples, converted)
    return Block(
      count: samples, input: input, inputStride: inputStride, activations: scratch.baseAddress + convertedScalars,
      output: output, images: images, lists: listMemory(member))
  }

  /// Where a step's matrix begins.
  @inline(__always)
  private func base(_ place: InferenceStep<Scalar>.Place, _ block: Block) -> UnsafeMutablePointer<Scalar> {
    switch place {
    case .input: block.input
    case .scratch(let index): block.activations + index * program.scratchScalars
    case .output: block.output
    }
  }

  /// A step for all samples of `block`.
  @inline(__always)
  func run(_ step: InferenceStep<Scalar>, of block: Block, isFirst: Bool) {
    let (x, y) = (input(of: step, block), output(of: step, block))
    if isFirst, block.images.samples != 0, let weights = step.weights {
      multiply(x, weights, block.images, into: y)
      finishDense(step, y)
    } else {
      run(step, x, y, block.lists, shortcut: shortcut(of: step, block))
    }
  }

  /// The same for some columns of its output, where each follows from a product's inputs or from the same column.
  @inline(__always)
  func run(_ step: InferenceStep<Scalar>, of block: Block, columns: Range<Int>) {
    let (x, y) = (input(of: step, block), output(of: step, block))
    run(
      step.columns(columns), step.kind == .dense ? x : x.columns(columns), y.columns(columns), block.lists,
      shortcut: shortcut(of: step, block).columns(columns))
  }

  @inline(__always)
  private func input(of step: InferenceStep<Scalar>, _ block: Block) -> MatrixView<Scalar> {
    MatrixView(
      base: base(step.source, block), rows: block.count * step.inputRows, columns: step.inputColumns,
      stride: step.source == .input && step.inputRows == 1 ? block.inputStride : step.inputStride)
  }

  @inline(__always)
  private func output(of step: InferenceStep<Scalar>, _ block: Block) -> MatrixView<Scalar> {
    MatrixView(
      base: base(step.destination, block), rows: block.count * step.outputRows, columns: step.outputColumns,
      stride: step.outputStride)
  }

  /// What an addition adds to its input.
  @inline(__always)
  private func shortcut(of step: InferenceStep<Scalar>, _ block: Block) -> MatrixView<Scalar> {
    MatrixView(
      base: base(step.shortcut, block), rows: block.count * step.inputRows, columns: step.inputColumns,
      stride: step.shortcut == .input && step.inputRows == 1 ? block.inputStride : step.shortcutStride)
  }

  /// The samples of a block that are bytes, the first in the lowest bit, where they lie, and what a byte counts.
  struct BlockImages {
    var samples: UInt64 = 0
    var rows: UnsafeMutablePointer<UInt8>?
    var scale = 1.0
    /// Whether all are.
    var isWhole = false
  }

  /// Finds the block's images and writes their bytes.
  @inline(__always)
  private func blockImages(_ first: Int, _ count: Int, _ rows: UnsafeMutablePointer<UInt8>) -> BlockImages {
    guard let images = program.images else { return BlockImages() }
    let all = UInt64.max >> UInt64(UInt64.bitWidth - count)
    switch inputs {
    case .bytes(let bytes, let scale, let offset) where offset == 0 && scale.isFinite:
      images.copy(bytes + first * program.inputCount, count, into: rows)
      return BlockImages(samples: all, rows: rows, scale: scale, isWhole: true)
    case .scalars(let scalars):
      let samples = images.recognized(scalars + first * program.inputCount, count, into: rows)
      return BlockImages(samples: samples, rows: rows, scale: 1.0 / 255, isWhole: samples == all)
    default: return BlockImages()
    }
  }

  /// y = x·W, of images as bytes.
  @inline(__always)
  private func multiply(
    _ x: MatrixView<Scalar>, _ weights: UnsafePointer<Scalar>, _ images: BlockImages, into y: MatrixView<Scalar>
  ) {
    guard let rows = images.rows else { return }
    var row = 0
    while row < y.rows {
      let left = images.samples >> UInt64(row)
      let areImages = left & 1 == 1
      // As many as are of one kind.
      let run = min(y.rows - row, (areImages ? ~left : left).trailingZeroBitCount)
      let part = row..<row + run
      if areImages {
        program.images?.multiply(rows, part, scale: images.scale, into: y.rows(part))
      } else {
        program.kernels.multiply(x.rows(part), weights, y.rows(part))
      }
      row = part.upperBound
    }
  }

  /// Where the samples of a block lie: in the caller's memory, or converted or moved into scratch memory.
  @inline(__always)
  private func blockInput(
    _ first: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Scalar>
  ) -> (UnsafeMutablePointer<Scalar>, Int) {
    let width = program.inputCount
    let converted = MatrixView(base: scratch, rows: count, columns: width, stride: program.convertedStride)
    let gathering = program.table.gathering
    switch inputs {
    case .bytes(let bytes, let scale, let offset):
      gathering.bytes(bytes + first * width, indices.baseAddress, converted, scale, offset)
    case .bytesByColumn(let bytes, let scale, let offset):
      gathering.bytesByColumn(bytes + first * width, indices.baseAddress, converted, scale, offset)
    case .scalars(let scalars):
      return (UnsafeMutablePointer(mutating: scalars + first * width), width)
    }
    return (scratch, program.convertedStride)
  }

  @inline(__always)
  private func run(
    _ step: InferenceStep<Scalar>, _ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>,
    _ lists: UnsafeMutablePointer<UInt8>, shortcut: @autoclosure () -> MatrixView<Scalar>
  ) {
    let kernels = program.kernels
    switch step.kind {
    case .dense:
      if let weights = step.weights {
        if x.rows >= program.fewestListedRows, let listed = program.lists, listed.takes(x, y) {
          listed.multiply(x, weights, into: y, lists: lists)
        } else {
          kernels.multiply(x, weights, y)
        }
      }
      finishDense(step, y)
    case .activation: kernels.activate(x, nil, y, step.activation, step.alpha)
    case .normalization:
      if let mean = step.mean, let low = step.meanLow, let inverse = step.inverseDeviation {
        kernels.normalize(x, mean, low, inverse, step.gamma, step.beta, y, step.activation == .relu, nil, false)
      }
    case .softmax: kernels.softmax(x, y)
    case .addition: kernels.add(x, shortcut(), y, step.activation == .relu, nil)
    case .custom:
      let custom = program.customOperations[step.customIndex]
      custom.layer.forward(x, parameters: custom.parameters, output: y, mode: .inference)
    }
  }

  /// y = f(y + b).
  @inline(__always)
  private func finishDense(_ step: InferenceStep<Scalar>, _ y: MatrixView<Scalar>) {
    let kernels = program.kernels
    if step.activation.gradientNeedsInput {
      // With a bias the kernel would leave x + bias behind for a gradient, which takes a matrix of its own.
      if let bias = step.bias { kernels.activate(y, bias, y, .linear, 0) }
      kernels.activate(y, nil, y, step.activation, step.alpha)
    } else if step.bias != nil || step.activation != .linear {
      kernels.activate(y, step.bias, y, step.activation, step.alpha)
    }
  }
}
