import Foundation
import Kernels
import Lamina
import NeuralNetworks
import ReferenceKernels

extension BenchmarkSuites {
  /// The product of a layer of `outputs` × `inputs` at a batch of `rows` that a step needs.
  struct ProductShape {
    enum Operation: String {
      /// Forward: z = x·W.
      case nn = "NN"
      /// The gradient of the input: dx = dz·Wᵀ.
      case nt = "NT"
      /// The gradient of the kernel: dW = xᵀ·dz.
      case tn = "TN"
    }

    var rows: Int
    var outputs: Int
    var inputs: Int
    var operation: Operation

    /// Rows, columns and depth of the product: m × n × k.
    var size: (m: Int, n: Int, k: Int) {
      switch operation {
      case .nn: (rows, outputs, inputs)
      case .nt: (rows, inputs, outputs)
      case .tn: (inputs, outputs, rows)
      }
    }
    /// Flops.
    var flops: Double { 2 * Double(rows) * Double(outputs) * Double(inputs) }
  }

  /// Products of a layer's shapes: textbook loops, one call of BLAS, and the pieces that a training step makes.
  ///
  /// Quick: three products of a first layer. Otherwise a grid of batches and layers, forward and both gradients.
  /// Lamina's are repeated within one hand-over to the team, as a step hands over once for all of its products.
  /// Ends with a note of the least and the median rate of Lamina over the one call of BLAS.
  public func gemm() throws {
    let first = [(outputs: 128, inputs: 784)]
    let floats =
      isQuick
      ? Self.grid(rows: [32], layers: first)
      : Self.grid(
        rows: [1, 2, 8, 32, 128, 512, 2048],
        layers: [(10, 64), (64, 128), (100, 100), (128, 784), (512, 784), (512, 512), (1024, 1024)])
    let doubles =
      isQuick
      ? [ProductShape(rows: 32, outputs: 128, inputs: 784, operation: .nn)]
      : Self.grid(rows: [1, 32, 512], layers: [(64, 128), (128, 784), (512, 512)])
    var ratios: [(name: String, ratio: Double)] = []
    func keep(_ row: BenchmarkRow?) {
      if let row, let ratio = row.speedupOverUnfused { ratios.append((row.name, ratio)) }
    }
    for shape in floats { keep(try product(shape, as: Float.self)) }
    for shape in doubles { keep(try product(shape, as: Double.self)) }
    ratios.sort { $0.ratio < $1.ratio }
    if let least = ratios.first {
      note(
        String(
          format: "gemm: Lamina over one call of BLAS: median %.2f×, least %.2f× (%@)",
          ratios[ratios.count / 2].ratio, least.ratio, least.name))
    }
  }

  private static func grid(rows: [Int], layers: [(outputs: Int, inputs: Int)]) -> [ProductShape] {
    layers.flatMap { layer in
      [ProductShape.Operation.nn, .nt, .tn].flatMap { operation in
        rows.map { ProductShape(rows: $0, outputs: layer.outputs, inputs: layer.inputs, operation: operation) }
      }
    }
  }

  /// Reports the rows of one product and returns Lamina's.
  private func product<Scalar: NetworkScalar>(_ shape: ProductShape, as type: Scalar.Type) throws -> BenchmarkRow? {
    let threads = threads ?? 1
    let seconds = isQuick ? 0.05 : 0.08
    return try ScratchMemory.scope {
      let data = try ProductCase<Scalar>(shape, threads: threads)
      let (m, n, k) = shape.size
      let name = "\(m)×\(n)×\(k) \(shape.operation.rawValue) \(Scalar.precisionName)"
      let singlePeak = try TeamRates.peak(as: type, threads: 1, seconds: seconds / 4)
      let peak = threads == 1 ? singlePeak : try TeamRates.peak(as: type, threads: threads, seconds: seconds / 4)

      func row(_ variant: BenchmarkVariant, _ timing: Timing, _ result: ScratchMatrix<Scalar>) -> BenchmarkRow {
        // A sum of k products rounds at most k times by half a unit, the oracle in Double as often.
        var row = BenchmarkRow(
          suite: "gemm", name: name, variant: variant.rawValue, threads: variant == .naive ? 1 : threads,
          timing: timing, maxError: data.error(of: result), bound: Double(k) * Double(Scalar.ulpOfOne))
        row.gflops = shape.flops / timing.median * 1e-3
        row.fractionOfBound = shape.flops / timing.median * 1e-3 / (variant == .naive ? singlePeak : peak)
        row.flopsPerByte = shape.flops / Double((m * k + k * n + m * n) * MemoryLayout<Scalar>.stride)
        row.sweep = Sweep(
          axis: .batch, value: shape.rows,
          family: "\(shape.inputs) to \(shape.outputs) \(shape.operation.rawValue), \(Scalar.precisionName)")
        return row
      }
      var rows: [BenchmarkRow] = []
      if wants(.naive) {
        let predicted = data.oracleSecondsPerFlop * shape.flops
        if predicted > Self.longestNaiveRun {
          leftOut("gemm", name, seconds: predicted)
        } else {
          rows.append(row(.naive, Timing(seconds: seconds, data.runNaive), data.result))
        }
      }
      if threads == 1, wants(.unfused), wants(.lamina) {
        let (unfused, lamina) = Timing.alternating(seconds: seconds, data.runPlain, data.runLamina)
        rows += [row(.unfused, unfused, data.result), row(.lamina, lamina, data.laminaResult())]
      } else {
        if wants(.lamina) { rows.append(row(.lamina, Timing(seconds: seconds, data.runLamina), data.laminaResult())) }
        if wants(.unfused) {
          let timing = UnfusedPasses<Scalar>.withBLASThreads(threads) { Timing(seconds: seconds, data.runPlain) }
          rows.append(row(.unfused, timing, data.result))
        }
      }
      return try report(variants: rows)
    }
  }
}

/// Operands of one product in row-major matrices and in a layer's tiles, and three ways to compute it.
private struct ProductCase<Scalar: NetworkScalar> {
  let shape: BenchmarkSuites.ProductShape
  let layer: DenseLayerWork<Scalar>
  let a, b, result: ScratchMatrix<Scalar>
  /// Rows of the result that the oracle computes; all where that takes no longer than a moment.
  private let checkedRows: [Int]
  private let exact: ScratchMatrix<Double>
  private let term: Double
  let oracleSecondsPerFlop: Double

  private var transposesA: Bool { shape.operation == .tn }
  private var transposesB: Bool { shape.operation == .nt }

  init(_ shape: BenchmarkSuites.ProductShape, threads: Int) throws {
    self.shape = shape
    layer = try DenseLayerWork(rows: shape.rows, inputs: shape.inputs, outputs: shape.outputs, threads: threads)
    let (m, n, k) = shape.size
    let (transposesA, transposesB) = (shape.operation == .tn, shape.operation == .nt)
    let a = ScratchMatrix<Scalar>(normal: transposesA ? k : m, transposesA ? m : k, seed: 1)
    let b = ScratchMatrix<Scalar>(normal: transposesB ? n : k, transposesB ? k : n, seed: 2)
    (self.a, self.b, result) = (a, b, ScratchMatrix(m, n))
    switch shape.operation {
    case .nn:
      layer.input.fill { a[$0, $1] }
      layer.setKernel { b[$0, $1] }
    case .nt:
      layer.outputGradient.fill { a[$0, $1] }
      layer.setKernel { b[$0, $1] }
    case .tn:
      layer.input.fill { a[$0, $1] }
      layer.outputGradient.fill { b[$0, $1] }
    }

    let count = min(m, max(8, 100_000_000 / (n * k)))
    let rows = count == m ? Array(0..<m) : (0..<count).map { $0 * (m - 1) / (count - 1) }
    let (a64, b64) = (a.converted(to: Double.self), b.converted(to: Double.self))
    checkedRows = rows
    exact = ScratchMatrix<Double>(count, n)
    let terms = ScratchMatrix<Double>(count, n)
    func multiply(into matrix: ScratchMatrix<Double>) {
      for (place, row) in rows.enumerated() {
        let part = transposesA ? a64.view.columns(row..<row + 1) : a64.view.rows(row..<row + 1)
        ReferenceKernels.multiply(
          part, transposeA: transposesA, b64.view, transposeB: transposesB, into: matrix.view.rows(place..<place + 1))
      }
    }
    let exact = exact
    let time = Timing.time { multiply(into: exact) }
    oracleSecondsPerFlop = time * 1e-6 / (2 * Double(count) * Double(n) * Double(k))
    for matrix in [a64, b64] { matrix.dropSigns() }
    multiply(into: terms)
    term = terms.largest
  }

  func runNaive() {
    ReferenceKernels.multiply(a.view, transposeA: transposesA, b.view, transposeB: transposesB, into: result.view)
  }

  /// The call that a user of BLAS makes.
  func runPlain(times: Int) {
    for _ in 0..<times {
      UnfusedPasses.multiply(a.view, transposeA: transposesA, b.view, transposeB: transposesB, into: result.view)
    }
  }

  func runLamina(times: Int) {
    switch shape.operation {
    case .nn: layer.run(.product, times: times)
    case .nt: layer.run(.inputGradient, times: times)
    case .tn: layer.run(.kernelGradient, times: times)
    }
  }

  /// What `runLamina` left, row-major.
  func laminaResult() -> ScratchMatrix<Scalar> {
    let (m, n, _) = shape.size
    let matrix = ScratchMatrix<Scalar>(m, n)
    switch shape.operation {
    case .nn: matrix.view.fill { layer.output[$0, $1] }
    case .nt: matrix.view.fill { layer.inputGradient[$0, $1] }
    case .tn: layer.copyKernelGradient(into: matrix.view)
    }
    return matrix
  }

  /// The largest error, relative to the largest Σ|a||b|.
  func error(of matrix: ScratchMatrix<Scalar>) -> Double {
    var worst = 0.0
    for (place, row) in checkedRows.enumerated() {
      for column in 0..<exact.view.columns {
        let difference = abs(Double(matrix[row, column]) - exact[place, column])
        worst = difference.isNaN ? .infinity : max(worst, difference)
      }
    }
    return worst / term
  }
}

extension MatrixView where Scalar: BinaryFloatingPoint {
  /// Element (row, column).
  subscript(_ row: Int, _ column: Int) -> Scalar { base[row * stride + column] }

  /// Sets every element.
  func fill(_ value: (Int, Int) -> Scalar) {
    for row in 0..<rows {
      for column in 0..<columns { base[row * stride + column] = value(row, column) }
    }
  }
}
