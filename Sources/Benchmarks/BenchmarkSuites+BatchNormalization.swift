import Kernels
import Lamina
import NeuralNetworks
import ReferenceKernels

extension BenchmarkSuites {
  /// Batch normalization with ReLU: textbook loops, one pass for each operation, and the fused kernels by a team.
  public func batchNormalization() throws {
    let large = [(1024, 1024), (4096, 1024), (60_000, 256)]
    for (rows, columns) in [(32, 128), (128, 512), (256, 1024)] + (isQuick ? [] : large) {
      try batchNormalization(rows, columns, as: Float.self)
    }
    try batchNormalization(128, 512, as: Double.self)
    try normalizationOptions()
  }

  private func batchNormalization<Scalar: NetworkScalar>(_ rows: Int, _ columns: Int, as type: Scalar.Type) throws {
    try ScratchMemory.scope {
      let case64 = NormalizationCase<Double>(rows, columns)
      case64.runNaive(backward: true)
      let data = NormalizationCase<Scalar>(rows, columns)
      let team = threads ?? 1
      let normalization = try SharedNormalization<Scalar>(rows: rows, columns: columns, threads: team, relu: true)
      let streams = try SharedStream<Scalar>(threads: team)
      for backward in [false, true] {
        let streaming = isStreamingFaster(data, streams, backward: backward)
        // In turn: threads change their places on the machine, and memory is then faster or slower for both. In long turns:
        // each finds the caches as it left them.
        let (bound, fused) = Timing.alternating(
          seconds: seconds, turn: seconds / 10, { data.move(streams, backward: backward, streaming: streaming) },
          { data.run(normalization, backward: backward) })
        let moved = Double(data.x.count * MemoryLayout<Scalar>.stride * (backward ? 5 : 2))

        func row(_ variant: String, threads: Int = 1, extraUnits: Int, _ timing: Timing) -> BenchmarkRow {
          // The kernels' variance is within 90 units, the output within half of that and the gradient within twice; a
          // sum in sequence, in the other variants and in the oracle, adds up to half a unit a row to each of three sums.
          let inDouble = Scalar.self == Double.self ? 2 * rows : 0
          var row = BenchmarkRow(
            suite: "batchnorm",
            name: "(\(rows), \(columns)) forward\(backward ? " + backward" : ""), ReLU, \(Scalar.precisionName)",
            variant: variant, threads: threads, timing: timing, maxError: data.error(from: case64, backward: backward),
            bound: Double(256 + extraUnits + inDouble) * Double(Scalar.ulpOfOne))
          row.gbPerSecond = moved / timing.median * 1e-3
          row.fractionOfBound = bound.median / timing.median
          return row
        }
        // The bound writes into the same outputs.
        data.run(normalization, backward: backward)
        let lamina = row("lamina", threads: team, extraUnits: 0, fused)
        // Textbook loops over tens of millions of elements take minutes.
        if rows * columns > 2 << 20 {
          try report(variants: [lamina])
          continue
        }
        try report(variants: [
          row("naive", extraUnits: 2 * rows, Timing(seconds: seconds) { data.runNaive(backward: backward) }),
          row("unfused", extraUnits: 2 * rows, Timing(seconds: seconds) { data.runUnfused(backward: backward) }),
          lamina,
        ])
      }
    }
  }

  /// Whether bytes move faster past the caches than through them.
  private func isStreamingFaster<Scalar: NetworkScalar>(
    _ data: NormalizationCase<Scalar>, _ streams: SharedStream<Scalar>, backward: Bool
  ) -> Bool {
    let (through, past) = Timing.alternating(
      seconds: seconds / 4, { data.move(streams, backward: backward, streaming: false) },
      { data.move(streams, backward: backward, streaming: true) })
    return past.median < through.median
  }
}

/// Inputs and outputs of a batch normalization with ReLU, and three ways to compute it.
private struct NormalizationCase<Scalar: NetworkScalar> {
  static var epsilon: Double { 1e-3 }
  let x, dy, y, dx, gamma, beta: ScratchMatrix<Scalar>
  let mean, low, variance, inverse, dGamma, dBeta: ScratchMatrix<Scalar>

  init(_ rows: Int, _ columns: Int) {
    // Rounded to Float, so that both precisions have the same inputs.
    func normal(_ rows: Int, _ seed: UInt64) -> ScratchMatrix<Scalar> {
      ScratchMatrix<Float>(normal: rows, columns, seed: seed).converted()
    }
    func empty(_ rows: Int) -> ScratchMatrix<Scalar> { ScratchMatrix(rows, columns) }
    (x, dy, gamma, beta) = (normal(rows, 1), normal(rows, 2), normal(1, 3), normal(1, 4))
    (y, dx) = (empty(rows), empty(rows))
    (mean, low, variance, inverse, dGamma, dBeta) = (empty(1), empty(1), empty(1), empty(1), empty(1), empty(1))
  }

  func runNaive(backward: Bool) {
    ReferenceKernels.moments(x.view, mean: mean.pointer, variance: variance.pointer)
    invert()
    ReferenceKernels.normalize(
      x.view, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma.pointer, beta: beta.pointer,
      into: y.view, relu: true)
    guard backward else { return }
    ReferenceKernels.batchNormalizationBackward(
      dy.view, x.view, output: y.view, mean: mean.pointer, inverseDeviation: inverse.pointer, gamma: gamma.pointer,
      dGamma: dGamma.pointer, dBeta: dBeta.pointer, dx: dx.view, maskInput: false)
  }

  func run(_ normalization: SharedNormalization<Scalar>, backward: Bool) {
    normalization.forward(
      x.view, gamma: gamma.pointer, beta: beta.pointer, epsilon: Self.epsilon, into: y.view)
    if backward { normalization.backward(dy.view, x.view, gamma: gamma.pointer, into: dx.view) }
  }

  /// Moves the bytes that must move at least once, by the same team in the same memory.
  ///
  /// Forward x is read and y written; backward x and dy are read and dx is written.
  func move(_ streams: SharedStream<Scalar>, backward: Bool, streaming: Bool) {
    streams.run(x.pointer, nil, y.pointer, x.count, streaming: streaming)
    if backward { streams.run(x.pointer, dy.pointer, dx.pointer, x.count, streaming: streaming) }
  }

  /// One pass over the matrix for each operation, row by row, as a framework without fusion does it.
  func runUnfused(backward: Bool) {
    let (rows, columns, n) = (self.x.view.rows, self.x.view.columns, Scalar(self.x.view.rows))
    let (x, dy, y, dx) = (self.x.pointer, self.dy.pointer, self.y.pointer, self.dx.pointer)
    let (gamma, beta) = (self.gamma.pointer, self.beta.pointer)
    let (dGamma, dBeta) = (self.dGamma.pointer, self.dBeta.pointer)
    let (mean, variance, inverse) = (self.mean.pointer, self.variance.pointer, self.inverse.pointer)
    for column in 0..<columns { (mean[column], variance[column], dGamma[column], dBeta[column]) = (0, 0, 0, 0) }
    Self.rows(rows, columns) { first, column in mean[column] += x[first &+ column] }
    for column in 0..<columns { mean[column] /= n }
    Self.rows(rows, columns) { first, column in
      let difference = x[first &+ column] - mean[column]
      variance[column] += difference * difference
    }
    for column in 0..<columns { variance[column] /= n }
    invert()
    Self.rows(rows, columns) { first, column in
      y[first &+ column] = (x[first &+ column] - mean[column]) * inverse[column]
    }
    Self.rows(rows, columns) { first, column in
      y[first &+ column] = y[first &+ column] * gamma[column] + beta[column]
    }
    Self.rows(rows, columns) { first, column in
      y[first &+ column] = max(y[first &+ column], 0)
    }
    guard backward else { return }
    Self.rows(rows, columns) { first, column in
      let gradient = dy[first &+ column]
      dx[first &+ column] = y[first &+ column] > 0 ? gradient : 0
    }
    Self.rows(rows, columns) { first, column in dBeta[column] += dx[first &+ column] }
    Self.rows(rows, columns) { first, column in
      dGamma[column] += dx[first &+ column] * (x[first &+ column] - mean[column]) * inverse[column]
    }
    Self.rows(rows, columns) { first, column in
      let normalized = (x[first &+ column] - mean[column]) * inverse[column]
      let centred = dx[first &+ column] - dBeta[column] / n - normalized * dGamma[column] / n
      dx[first &+ column] = gamma[column] * inverse[column] * centred
    }
  }

  /// Calls `body` with the index of each row's first element and each column; inlined, so that it is a plain loop.
  @inline(__always)
  private static func rows(_ rows: Int, _ columns: Int, _ body: (Int, Int) -> Void) {
    for row in 0..<rows {
      for column in 0..<columns { body(row &* columns, column) }
    }
  }

  private func invert() {
    for column in 0..<x.view.columns {
      inverse[0, column] = 1 / (variance[0, column] + Scalar(Self.epsilon)).squareRoot()
    }
  }

  /// The largest error of the outputs, relative to the largest term of each.
  ///
  /// An output within rounding of 0 may fall on the other side of ReLU than the oracle's, and then takes a term of its
  /// column's gradient with it: columns with such an output are left out of the gradient's comparison.
  func error(from exact: NormalizationCase<Double>, backward: Bool) -> Double {
    let peak = exact.x.largest * exact.inverse.largest
    let term = exact.gamma.largest * peak + exact.beta.largest
    let forward = y.largestDifference(from: exact.y) / term
    guard backward else { return forward }
    let gradientTerm = exact.gamma.largest * exact.inverse.largest * exact.dy.largest * (2 + peak * peak)
    var worst = 0.0
    for column in 0..<x.view.columns {
      let sameSide = (0..<x.view.rows).allSatisfy { (y[$0, column] > 0) == (exact.y[$0, column] > 0) }
      guard sameSide else { continue }
      for row in 0..<x.view.rows {
        let difference = abs(Double(dx[row, column]) - exact.dx[row, column]) / gradientTerm
        worst = difference.isNaN ? .infinity : max(worst, difference)
      }
    }
    return max(forward, worst)
  }
}
