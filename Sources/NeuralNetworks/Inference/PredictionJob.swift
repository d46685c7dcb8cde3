import CPUFeatures
import Kernels
import LinearAlgebra
import Synchronization

/// One call of a predictor at a time: its inputs and outputs, and scratch memory for the members that work on it.
///
/// Members take blocks of samples until none is left; a block passes through all steps in the cache of one core, and
/// nothing is waited for but the end. Which member takes a block does not change its bits.
public final class PredictionJob<Scalar: NetworkScalar>: TeamJob, @unchecked Sendable {
  private let program: InferenceProgram<Scalar>
  private let members: Int
  private let scratch: AlignedBuffer<Scalar>
  private let scratchPerMember: Int
  private let indices: AlignedBuffer<Int32>
  private let nextSample = Atomic<Int>(0)

  // The call at hand.
  private var inputs: BatchSource<Scalar>.Inputs
  private var output: UnsafeMutablePointer<Scalar>
  private var samples = 0
  private var samplesPerPiece = 1
  private var stepCount = 0

  /// Scratch memory for `members` members.
  init(program: InferenceProgram<Scalar>, members: Int) {
    self.program = program
    self.members = members
    let converted = (program.blockSamples * program.convertedStride + 31) / 32 * 32
    scratchPerMember = converted + program.scratchCount * program.scratchScalars
    scratch = AlignedBuffer(uninitializedCapacity: members * scratchPerMember + 32)
    indices = AlignedBuffer(uninitializedCapacity: program.blockSamples)
    for index in 0..<program.blockSamples { indices.baseAddress[index] = Int32(index) }
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
  func run(
    on team: WorkerTeam, _ inputs: BatchSource<Scalar>.Inputs, samples: Int,
    into output: UnsafeMutablePointer<Scalar>, steps: Int
  ) {
    prepare(inputs, samples, output, steps, sharedBy: members)
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

  /// Takes pieces until none is left.
  @inline(__always)
  func performWork(member: Int) {
    let base = scratch.baseAddress + member * scratchPerMember
    while true {
      let first = nextSample.add(samplesPerPiece, ordering: .relaxed).oldValue
      if first >= samples { return }
      runBlock(first, min(samplesPerPiece, samples - first), base)
    }
  }

  /// All steps for `count` samples from `first`.
  @inline(__always)
  private func runBlock(_ first: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Scalar>) {
    let program = program
    let activations = scratch + (scratchPerMember - program.scratchCount * program.scratchScalars)
    let (input, inputStride) = blockInput(first, count, scratch)
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
      run(
        step, x, y,
        shortcut: MatrixView(
          base: base(step.shortcut), rows: x.rows, columns: x.columns,
          stride: step.shortcut == .input && step.inputRows == 1 ? inputStride : step.shortcutStride))
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
    shortcut: @autoclosure () -> MatrixView<Scalar>
  ) {
    let kernels = program.kernels
    switch step.kind {
    case .dense:
      if let weights = step.weights { kernels.multiply(x, weights, y) }
      if step.activation.gradientNeedsInput {
        // With a bias the kernel would leave x + bias behind for a gradient, which takes a matrix of its own.
        if let bias = step.bias { kernels.activate(y, bias, y, .linear, 0) }
        kernels.activate(y, nil, y, step.activation, step.alpha)
      } else if step.bias != nil || step.activation != .linear {
        kernels.activate(y, step.bias, y, step.activation, step.alpha)
      }
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
}
