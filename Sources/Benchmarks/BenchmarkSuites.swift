import Kernels
import Lamina
import ReferenceKernels

/// The suites of `lamina bench`: each case in the naive form and in Lamina's, with the error of each against the oracle.
public struct BenchmarkSuites {
  /// Fewer and smaller cases, less time each.
  public var isQuick: Bool
  /// Threads of the kernels, one where nil.
  public var threads: Int?
  /// Seconds for each measurement.
  var seconds: Double { isQuick ? 0.05 : 0.3 }
  /// Called with each row as soon as it is measured.
  let report: (BenchmarkRow) throws -> Void

  /// Suites that hand their rows to `report`.
  public init(isQuick: Bool, threads: Int? = nil, report: @escaping (BenchmarkRow) throws -> Void) {
    self.isQuick = isQuick
    self.threads = threads
    self.report = report
  }

  /// Reports the variants of a case, the naive one first, with the speed-ups over it.
  func report(variants: [BenchmarkRow]) throws {
    for var row in variants {
      row.speedupOverNaive = variants[0].medianMicroseconds / row.medianMicroseconds
      try report(row)
    }
  }

  // MARK: Products

  /// Products of a layer's shapes on one core: textbook loops, one call of BLAS, and the pieces a training step makes.
  public func gemm() throws {
    // Forward (NN), gradient of the input (NT) and of the weights (TN) of a first layer; larger layers; a square.
    let shapes: [(m: Int, n: Int, k: Int, operation: Operation)] =
      [(32, 128, 784, .nn), (32, 784, 128, .nt), (784, 128, 32, .tn)]
      + (isQuick ? [] : [(128, 512, 784, .nn), (512, 512, 512, .nn), (1024, 1024, 1024, .nn)])
    for shape in shapes {
      try product(shape.m, shape.n, shape.k, shape.operation, as: Float.self)
    }
    try product(32, 128, 784, .nn, as: Double.self)
  }

  /// Which operand is stored transposed.
  enum Operation: String {
    case nn = "NN"
    case nt = "NT"
    case tn = "TN"
  }

  private func product<Scalar: NetworkScalar>(
    _ m: Int, _ n: Int, _ k: Int, _ operation: Operation, as type: Scalar.Type
  ) throws {
    BLAS.prepare()
    let kernels = try Scalar.kernels()
    try ScratchMemory.scope {
      let (transposeA, transposeB) = (operation == .tn, operation == .nt)
      let a = ScratchMatrix<Scalar>(normal: transposeA ? k : m, transposeA ? m : k, seed: 1)
      let b = ScratchMatrix<Scalar>(normal: transposeB ? n : k, transposeB ? k : n, seed: 2)
      let c = ScratchMatrix<Scalar>(m, n)
      let exact = ScratchMatrix<Double>(m, n)
      let terms = ScratchMatrix<Double>(m, n)
      let (a64, b64) = (a.converted(to: Double.self), b.converted(to: Double.self))
      ReferenceKernels.multiply(
        a64.view, transposeA: transposeA, b64.view, transposeB: transposeB, into: exact.view)
      for matrix in [a64, b64] { matrix.dropSigns() }
      ReferenceKernels.multiply(
        a64.view, transposeA: transposeA, b64.view, transposeB: transposeB, into: terms.view)
      let term = terms.largest
      let peak = MachineRates.peak(kernels.measurement, seconds: seconds / 2)
      let flops = 2 * Double(m) * Double(n) * Double(k)

      func row(_ variant: String, _ work: () -> Void) -> BenchmarkRow {
        let timing = Timing(seconds: seconds, work)
        // A sum of k products rounds at most k times by half a unit, the oracle in Double as often.
        var row = BenchmarkRow(
          suite: "gemm", name: "\(m)×\(n)×\(k) \(operation.rawValue) \(Scalar.precisionName)", variant: variant,
          threads: 1, timing: timing, maxError: c.largestDifference(from: exact) / term,
          bound: Double(k) * Double(Scalar.ulpOfOne))
        row.gflops = flops / timing.median * 1e-3
        row.fractionOfBound = flops / timing.median * 1e-3 / peak
        return row
      }
      try report(variants: [
        row("naive") {
          ReferenceKernels.multiply(a.view, transposeA: transposeA, b.view, transposeB: transposeB, into: c.view)
        },
        row("unfused") {
          Scalar.unsafeMultiply(
            transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, alpha: 1, a.pointer, a.view.stride,
            b.pointer, b.view.stride, beta: 0, c.pointer, n)
        },
        row("lamina") {
          TiledProduct.unsafeMultiply(
            transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a.pointer, a.view.stride, b.pointer,
            b.view.stride, accumulate: false, c.pointer, n)
        },
      ])
    }
  }
}
