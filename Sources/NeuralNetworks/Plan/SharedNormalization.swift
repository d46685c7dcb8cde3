import Kernels
import LinearAlgebra

/// Batch normalization of one matrix, with or without ReLU, by a team that shares its rows.
///
/// A member reads and writes whole rows: contiguous memory, in which no other member's prefetcher meddles (columns shared
/// by two threads take up to four times as long). Partial sums of `NormalizationPanels` are merged in one order, so
/// the bits depend neither on the team nor on how the work is shared. A ReLU leaves one bit an element for the gradient.
///
/// Cost: forward reads x twice and writes y, backward reads x and dy twice and writes dx; where a member's rows take up to
/// 4 MiB, the second reading begins with those that its cache still holds. What 24 MiB do not hold is written past the caches.
public final class SharedNormalization<Scalar: NetworkScalar>: TeamJob {
  let rows: Int
  let columns: Int
  let relu: Bool
  private let kernels: BatchNormalizationKernels<Scalar>
  private let team: WorkerTeam
  private let members: Int
  private let vectors: AlignedBuffer<Scalar>
  private let doubles: AlignedBuffer<Double>
  private let bits: AlignedBuffer<UInt8>
  private let stride: Int
  /// Scalars before the scratch memory of the first member, and from one member's to the next one's.
  private let scratchStart: Int
  private let scratchStride: Int
  private var job: Job?

  private struct Job {
    var x: MatrixView<Scalar>
    var dy: MatrixView<Scalar>?
    /// y or dx.
    var result: MatrixView<Scalar>
    var gamma: UnsafePointer<Scalar>?
    var beta: UnsafePointer<Scalar>?
    var epsilon: Double
    var isStreaming: Bool
  }

  /// Elements below which one thread is faster than a team: handing work over takes about a third of a microsecond.
  private static var smallest: Int { 8192 }
  /// Bytes read and written beyond which results go past the caches: what a third-level cache of 32 MiB holds beside what
  /// else is in use (of 32 MiB read and written it kept so little that this took twice as long).
  private static var cachedBytes: Int { 24 << 20 }
  // Which vector is where.
  private static var scratchVectors: Int { 3 }
  private static var vectorCount: Int { 10 }

  /// Memory for matrices of `rows × columns` and a team of `threads`.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  package init(rows: Int, columns: Int, threads: Int, relu: Bool) throws {
    precondition(rows > 0 && columns > 0 && threads > 0, "a normalization needs rows, columns and threads")
    kernels = try Scalar.kernels().batchNormalization
    (self.rows, self.columns, self.relu) = (rows, columns, relu)
    members = rows * columns < Self.smallest ? 1 : threads
    team = try WorkerTeam(size: members)
    stride = (columns + 31) / 32 * 32
    scratchStride = MemberSpacing.spaced(Self.scratchVectors * stride, of: Scalar.self)
    scratchStart = MemberSpacing.spaced(Self.vectorCount * stride, of: Scalar.self)
    vectors = AlignedBuffer(zeroedCapacity: scratchStart + members * scratchStride)
    doubles = AlignedBuffer(zeroedCapacity: 6 * max(NormalizationPanels.count(of: rows), 1) * stride)
    bits = AlignedBuffer(zeroedCapacity: relu ? rows * BitMatrixView.bytes(columns: columns) : 0)
  }

  /// Mean of each column, as the last `forward` left it.
  package var mean: UnsafeMutablePointer<Scalar> { vector(0) }
  /// What the rounding of `mean` left over.
  package var meanLow: UnsafeMutablePointer<Scalar> { vector(1) }
  /// Biased variance of each column.
  package var variance: UnsafeMutablePointer<Scalar> { vector(2) }
  /// 1/√(variance + ε) of each column.
  package var inverseDeviation: UnsafeMutablePointer<Scalar> { vector(3) }
  /// dγ of each column, as the last `backward` left it.
  package var dGamma: UnsafeMutablePointer<Scalar> { vector(4) }
  /// dβ of each column.
  package var dBeta: UnsafeMutablePointer<Scalar> { vector(5) }

  /// y = γ·(x − mean)/√(variance + ε) + β by the statistics of x's columns, clamped at 0 with `relu`.
  ///
  /// gamma nil means 1, beta nil means 0.
  package func forward(
    _ x: MatrixView<Scalar>, gamma: UnsafePointer<Scalar>?, beta: UnsafePointer<Scalar>?, epsilon: Double,
    into y: MatrixView<Scalar>
  ) {
    run(
      Job(
        x: x, dy: nil, result: y, gamma: gamma, beta: beta, epsilon: epsilon,
        isStreaming: 2 * bytesOfMatrix > Self.cachedBytes))
  }

  /// The gradient of the last `forward`, whose x and gamma must be given again.
  package func backward(
    _ dy: MatrixView<Scalar>, _ x: MatrixView<Scalar>, gamma: UnsafePointer<Scalar>?, into dx: MatrixView<Scalar>
  ) {
    run(
      Job(
        x: x, dy: dy, result: dx, gamma: gamma, beta: nil, epsilon: 0,
        isStreaming: 3 * bytesOfMatrix > Self.cachedBytes && dx.base != dy.base))
  }

  private var bytesOfMatrix: Int { rows * columns * MemoryLayout<Scalar>.stride }

  private func run(_ job: Job) {
    precondition(
      job.x.rows == rows && job.x.columns == columns && job.result.rows == rows && job.result.columns == columns,
      "a normalization of \(rows)×\(columns) was given another shape")
    self.job = job
    team.run(self)
  }

  func work(member: Int) { Scalar.work(on: self, member: member) }

  private func vector(_ index: Int) -> UnsafeMutablePointer<Scalar> { vectors.baseAddress + index * stride }
  private var mask: BitMatrixView? {
    relu ? BitMatrixView(base: bits.baseAddress, stride: BitMatrixView.bytes(columns: columns)) : nil
  }
}

extension SharedNormalization {
  /// One member's share of the job at hand.
  @inline(__always)
  func performWork(member: Int) {
    guard let job else { return }
    if let dy = job.dy { backward(job, dy, member) } else { forward(job, member) }
  }

  /// This member's whole panels.
  @inline(__always)
  private func ownedPanels(_ member: Int) -> Range<Int> {
    TileGrid.owned(by: member, of: members, count: NormalizationPanels.count(of: rows))
  }

  @inline(__always)
  private func rows(of panels: Range<Int>) -> Range<Int> {
    let panelRows = NormalizationPanels.rows(of: rows)
    return min(rows, panels.lowerBound * panelRows)..<min(rows, panels.upperBound * panelRows)
  }

  /// This member's columns while sums are merged: whole pairs of cache lines.
  @inline(__always)
  private func ownedColumns(_ member: Int) -> Range<Int> {
    let owned = TileGrid.owned(by: member, of: members, count: stride / 32)
    return min(columns, owned.lowerBound * 32)..<min(columns, owned.upperBound * 32)
  }

  @inline(__always)
  private func forward(_ job: Job, _ member: Int) {
    let panels = ownedPanels(member)
    let sums = MatrixView(base: doubles.baseAddress, rows: 3 * NormalizationPanels.count(of: rows), columns: stride)
    let scratch = vectors.baseAddress + scratchStart + member * scratchStride
    for panel in panels {
      kernels.partialMoments(
        job.x.rows(rows(of: panel..<panel + 1)), sums.rows(3 * panel..<3 * panel + 3).columns(0..<columns), scratch)
    }
    team.barrier(member)
    let owned = ownedColumns(member)
    if !owned.isEmpty {
      let first = owned.lowerBound
      kernels.mergeMoments(sums.columns(owned), rows, mean + first, meanLow + first, variance + first)
      kernels.inverseDeviation(variance + first, job.epsilon, inverseDeviation + first, owned.count)
    }
    team.barrier(member)
    let own = rows(of: panels)
    guard !own.isEmpty else { return }
    kernels.normalize(
      job.x.rows(own), mean, meanLow, inverseDeviation, job.gamma, job.beta, job.result.rows(own), relu,
      mask?.rows(from: own.lowerBound), job.isStreaming)
  }

  @inline(__always)
  private func backward(_ job: Job, _ dy: MatrixView<Scalar>, _ member: Int) {
    let panels = ownedPanels(member)
    let sums = MatrixView(base: doubles.baseAddress, rows: 2 * NormalizationPanels.count(of: rows), columns: stride)
    for panel in panels {
      let own = rows(of: panel..<panel + 1)
      kernels.partialGradients(
        dy.rows(own), job.x.rows(own), mask?.rows(from: own.lowerBound), mean,
        sums.rows(2 * panel..<2 * panel + 2).columns(0..<columns))
    }
    team.barrier(member)
    let owned = ownedColumns(member)
    // Four a column.
    let coefficients = vector(6)
    if !owned.isEmpty {
      let first = owned.lowerBound
      kernels.mergeGradients(
        sums.columns(owned), rows, mean + first, meanLow + first, inverseDeviation + first,
        job.gamma.map { $0 + first }, dGamma + first, dBeta + first, coefficients + 4 * first)
    }
    team.barrier(member)
    let own = rows(of: panels)
    guard !own.isEmpty else { return }
    kernels.propagate(
      dy.rows(own), job.x.rows(own), mask?.rows(from: own.lowerBound), coefficients, job.result.rows(own), false,
      job.isStreaming)
  }
}

/// Copies and sums of vectors by a team, each member a contiguous part: the least time in which bytes can be moved.
public final class SharedStream<Scalar: NetworkScalar>: TeamJob {
  private let team: WorkerTeam
  private let threads: Int
  private let stream: MeasurementKernels<Scalar>
  private var job:
    (x: UnsafePointer<Scalar>, second: UnsafePointer<Scalar>?, y: UnsafeMutablePointer<Scalar>, count: Int)?
  private var isStreaming = false

  /// A team of `threads`.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  package init(threads: Int) throws {
    self.threads = threads
    team = try WorkerTeam(size: threads)
    stream = try Scalar.kernels().measurement
  }

  /// y = x, or x + second, for `count` elements; with `streaming` past the caches.
  package func run(
    _ x: UnsafePointer<Scalar>, _ second: UnsafePointer<Scalar>?, _ y: UnsafeMutablePointer<Scalar>, _ count: Int,
    streaming: Bool
  ) {
    job = (x, second, y, count)
    isStreaming = streaming
    team.run(self)
  }

  func work(member: Int) {
    guard let job else { return }
    let lines = (job.count + 63) / 64
    let first = min(job.count, member * lines / threads * 64)
    let end = min(job.count, (member + 1) * lines / threads * 64)
    stream.stream(job.x + first, job.second.map { $0 + first }, job.y + first, end - first, isStreaming)
  }
}
