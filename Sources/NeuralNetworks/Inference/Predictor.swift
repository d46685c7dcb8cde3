import CPUFeatures
import Kernels
import LinearAlgebra

/// A model made ready to answer: batch normalization folded away, weights packed, nothing allocated in a call.
///
/// ```swift
/// let predictor = try model.predictor()
/// try predictor.predict(pixels, into: probabilities)   // buffers; from any number of threads at once
/// ```
///
/// A predictor is a copy: training the model further does not change it. It can be called from many threads at once. Each call
/// uses scratch memory that it takes from a pool; a call that finds the pool empty adds some to it, so that there is as
/// much as calls have ever run at once. A large batch is shared among the predictor's own threads; of a small one the
/// columns of wide layers are, where calls follow each other closely, one at a time, and trying shows that it saves time.
/// Other calls are computed on the caller's thread, and so are all while another call has those threads. An output's bits
/// depend on its sample and the instruction set alone: not on the batch it comes in, nor on threads. (Layers of your own
/// excepted: they see up to `maximumBatch` samples at once, on the caller's thread, and must bear being called from
/// several.)
///
/// With AVX-512 VNNI a first layer of 48 units or more multiplies images as bytes, exactly: those given as bytes without
/// an offset, and samples of `Float` that consist of bytes over 255.
public final class Predictor<Scalar: NetworkScalar>: Sendable {
  /// Shape of one sample of the input.
  public let inputShape: [Int]
  /// Shape of one sample of the output.
  public let outputShape: [Int]
  /// Scalars of one sample of the input.
  public let inputCount: Int
  /// Scalars of one sample of the output.
  public let outputCount: Int
  /// Threads that share a large batch or wide layers, the caller's included.
  public let threads: Int
  /// What was folded, with the measured error; nil where folding was refused or not wanted.
  public let foldingReport: FoldingReport?
  /// Why nothing is folded, where folding was wanted and refused.
  public let foldingRefusal: String?

  let program: InferenceProgram<Scalar>
  private let team: WorkerTeam?
  private let teamJob: PredictionJob<Scalar>?
  private let calls: Locked<Calls>

  /// What the calls of this moment have in common.
  private struct Calls {
    var idleJobs: [PredictionJob<Scalar>]
    var running = 0
    var teamIsBusy = false
    /// For each number of samples up to a block.
    var choices: [SharingChoice]
  }

  /// How a call is computed.
  private enum Way {
    case alone
    case bySamples
    case byColumns(movingApart: Bool)
  }

  /// Multiply-adds (about 5 µs of one core) below which waking a team costs more than it saves.
  private static var leastSharedWork: Int { 1 << 20 }

  init(
    program: InferenceProgram<Scalar>, graph: InferenceGraph<Scalar>, threads: Int, team: WorkerTeam?,
    report: FoldingReport?, refusal: String?
  ) throws {
    self.program = program
    inputShape = graph.inputShape
    outputShape = graph.outputShape
    inputCount = program.inputCount
    outputCount = program.outputCount
    foldingReport = report
    foldingRefusal = refusal
    // A layer of a user's may look at a whole batch.
    self.threads = graph.hasCustomLayers ? 1 : threads
    self.team = self.threads > 1 ? try team ?? WorkerTeam(size: threads) : nil
    teamJob = self.threads > 1 ? PredictionJob(program: program, members: threads) : nil
    var jobs = [PredictionJob(program: program, members: 1)]
    jobs.reserveCapacity(64)
    calls = Locked(
      Calls(
        idleJobs: jobs, choices: .init(repeating: SharingChoice(), count: self.threads > 1 ? program.blockSamples : 0)))
  }

  // MARK: Buffers

  // Specialized here, for callers in other modules: a generic call looks up the types of jobs and locks at run time,
  // which shows in the time of a small model.

  /// Writes the outputs for rows of inputs.
  ///
  /// - Parameters:
  ///   - inputs: samples one after the other, `inputCount` scalars each; read where they are.
  ///   - outputs: room for `outputCount` scalars per sample, row-major.
  /// - Throws: `ModelError.shape` where the counts do not fit. Allocates nothing.
  @_specialize(where Scalar == Float)
  @_specialize(where Scalar == Double)
  public func predict(
    _ inputs: UnsafeBufferPointer<Scalar>, into outputs: UnsafeMutableBufferPointer<Scalar>
  ) throws {
    let samples = try sampleCount(inputs.count, outputs.count)
    guard samples > 0, let from = inputs.baseAddress, let to = outputs.baseAddress else { return }
    run(.scalars(from), samples: samples, into: to)
  }

  /// Writes the outputs for images of bytes, each taken as byte·scale + offset.
  ///
  /// - Parameters:
  ///   - images: samples one after the other, `inputCount` bytes each.
  ///   - scale: 1/255 by default.
  ///   - offset: 0 by default.
  ///   - outputs: room for `outputCount` scalars per sample, row-major.
  /// - Throws: `ModelError.shape` where the counts do not fit. Allocates nothing.
  @_specialize(where Scalar == Float)
  @_specialize(where Scalar == Double)
  public func predict(
    _ images: UnsafeBufferPointer<UInt8>, scale: Double = 1.0 / 255, offset: Double = 0,
    into outputs: UnsafeMutableBufferPointer<Scalar>
  ) throws {
    let samples = try sampleCount(images.count, outputs.count)
    guard samples > 0, let from = images.baseAddress, let to = outputs.baseAddress else { return }
    run(.bytes(from, scale: scale, offset: offset), samples: samples, into: to)
  }

  private func sampleCount(_ inputs: Int, _ outputs: Int) throws -> Int {
    guard inputs % inputCount == 0 else {
      throw ModelError.shape(what: "the inputs", expected: [inputs / inputCount, inputCount], got: [inputs])
    }
    let samples = inputs / inputCount
    guard outputs == samples * outputCount else {
      throw ModelError.shape(what: "the outputs", expected: [samples, outputCount], got: [outputs])
    }
    return samples
  }

  // MARK: Tensors

  /// The outputs for a tensor of shape (samples, …).
  ///
  /// - Throws: `ModelError.shape` where a sample does not have `inputShape`.
  public func predict(_ inputs: Tensor<Scalar>) throws -> Tensor<Scalar> {
    var outputs = Tensor<Scalar>.zeros([inputs.shape[0]] + outputShape)
    try predict(inputs, into: &outputs)
    return outputs
  }

  /// Writes the outputs for a tensor of shape (samples, …) into another; allocates nothing where `outputs` is not shared.
  ///
  /// - Throws: `ModelError.shape` where a sample does not have `inputShape` or `outputs` not (samples,) + `outputShape`.
  public func predict(_ inputs: Tensor<Scalar>, into outputs: inout Tensor<Scalar>) throws {
    guard inputs.shape.dropFirst().elementsEqual(inputShape) else {
      throw ModelError.shape(
        what: "one sample of the inputs", expected: inputShape, got: Array(inputs.shape.dropFirst()))
    }
    guard outputs.shape.first == inputs.shape[0], outputs.shape.dropFirst().elementsEqual(outputShape) else {
      throw ModelError.shape(what: "the outputs", expected: [inputs.shape[0]] + outputShape, got: outputs.shape)
    }
    try inputs.withUnsafeBufferPointer { inputs in
      try outputs.withUnsafeMutableBufferPointer { outputs in
        try predict(inputs, into: outputs)
      }
    }
  }

  /// The class of each sample: the first of its largest outputs.
  ///
  /// Shape (samples,) for a model of one row of outputs per sample; else one class per row of outputs.
  ///
  /// - Throws: `ModelError.shape` where a sample does not have `inputShape`.
  public func classes(_ inputs: Tensor<Scalar>) throws -> [Int] { Self.classes(of: try predict(inputs)) }

  /// The place of the first largest element of each row of the last axis.
  package static func classes(of outputs: Tensor<Scalar>) -> [Int] {
    let columns = outputs.shape[outputs.rank - 1]
    return outputs.withUnsafeBufferPointer { values in
      stride(from: 0, to: values.count, by: columns).map { row in
        (1..<max(columns, 1)).reduce(0) { values[row + $1] > values[row + $0] ? $1 : $0 }
      }
    }
  }

  // MARK: Running

  /// Outputs of `samples` samples; without a final softmax where `beforeSoftmax`.
  @_specialize(where Scalar == Float)
  @_specialize(where Scalar == Double)
  package func run(
    _ inputs: BatchSource<Scalar>.Inputs, samples: Int, into output: UnsafeMutablePointer<Scalar>,
    beforeSoftmax: Bool = false
  ) {
    let steps = program.stepCount - (beforeSoftmax && program.endsInSoftmax ? 1 : 0)
    let sharesSamples = team != nil && samples > 1 && samples * program.work >= Self.leastSharedWork
    let mayShareColumns =
      team != nil && samples <= program.blockSamples
      && samples * program.largestSharedProduct >= InferenceProgram<Scalar>.leastSharedProduct
    let start = mayShareColumns ? lamina_nanoseconds() : 0
    // A call that is alone is timed: others take from it what is not to be blamed on how it is computed.
    let (job, way, isTimed) = calls.withLock { calls in
      calls.running += 1
      let isTimed = mayShareColumns && calls.running == 1
      if isTimed, calls.choices[samples - 1].shares(at: start) {
        calls.teamIsBusy = true
        let way = Way.byColumns(movingApart: calls.choices[samples - 1].isWaking)
        return (nil as PredictionJob<Scalar>?, way, isTimed)
      }
      if sharesSamples, !calls.teamIsBusy {
        calls.teamIsBusy = true
        return (nil, .bySamples, isTimed)
      }
      return (calls.idleJobs.popLast(), .alone, isTimed)
    }
    var used = job
    var sharesColumns = false
    switch way {
    case .alone:
      let own = job ?? PredictionJob(program: program, members: 1)
      own.runAlone(inputs, samples: samples, into: output, steps: steps)
      used = own
    case .bySamples:
      if let team { teamJob?.run(on: team, inputs, samples: samples, into: output, steps: steps) }
    case .byColumns(let movesApart):
      sharesColumns = true
      if let team {
        teamJob?.run(
          on: team, inputs, samples: samples, into: output, steps: steps, byColumns: true, movesApart: movesApart)
      }
    }
    let end = isTimed ? lamina_nanoseconds() : 0
    calls.withLock { calls in
      calls.running -= 1
      if isTimed { calls.choices[samples - 1].record(shared: sharesColumns, from: start, to: end) }
      if let used { calls.idleJobs.append(used) } else { calls.teamIsBusy = false }
    }
  }
}
