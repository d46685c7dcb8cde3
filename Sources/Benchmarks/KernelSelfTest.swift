import Kernels
import Lamina
import ReferenceKernels

/// How far one kernel is from the oracle in Double.
public struct SelfTestResult: Sendable, Equatable, Encodable {
  /// Group and kernel, such as `batchNormalization.moments`.
  public var kernel: String
  /// `float32` or `float64`.
  public var precision: String
  /// The instruction set it ran in.
  public var kernels: String
  /// The largest error, in units of the last place of the largest term that went into a result.
  public var maxError: Double?
  /// The largest error that roundings explain, in the same unit.
  public var bound: Double
  /// Whether the error is within the bound.
  public var ok: Bool

  private enum CodingKeys: String, CodingKey {
    case kernel, precision, kernels, bound, ok
    case maxError = "max_error"
  }

  /// Writes every key; an error that is not finite becomes null.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(kernel, forKey: .kernel)
    try container.encode(precision, forKey: .precision)
    try container.encode(kernels, forKey: .kernels)
    try container.encode(maxError, forKey: .maxError)
    try container.encode(bound, forKey: .bound)
    try container.encode(ok, forKey: .ok)
  }
}

/// Runs matrix products and every kernel once on random numbers and compares them with the oracle.
///
/// Sizes leave a part of a vector over in rows and columns. Errors are counted in units of the last place of the largest
/// term that went into a result, because cancellation leaves the roundings of the terms; each bound is the number of
/// roundings on the longest way to a result, halved (a rounding is half a unit), with the roundings of the oracle, which
/// sums in sequence, added in Double.
public struct KernelSelfTest<Scalar: NetworkScalar> {
  let table: KernelTable<Scalar>
  let rows = 33
  let columns = 65
  private(set) var results: [SelfTestResult] = []

  /// The results for `instructionSet`, which the CPU must support.
  public static func run(_ instructionSet: InstructionSet) -> [SelfTestResult] {
    ScratchMemory.scope {
      var test = KernelSelfTest(table: Scalar.kernels(for: instructionSet))
      test.testProducts()
      test.testActivations()
      test.testElementaryFunctions()
      test.testBatchNormalization()
      test.testOptimizers()
      test.testLosses()
      test.testDropout()
      test.testGathering()
      test.testReductions()
      return test.results
    }
  }

  private init(table: KernelTable<Scalar>) { self.table = table }

  /// Roundings of an oracle that sums `terms` numbers in sequence in the precision that is tested.
  func oracleUnits(_ terms: Int) -> Double { Scalar.self == Double.self ? Double(terms) / 2 : 0 }

  /// Notes an error of `difference` where the largest term is `term`.
  mutating func note(_ kernel: String, difference: Double, term: Double, bound: Double) {
    let error = difference == 0 ? 0 : difference / (term * Double(Scalar.ulpOfOne))
    results.append(
      SelfTestResult(
        kernel: kernel, precision: Scalar.precisionName, kernels: table.instructionSet,
        maxError: error.isFinite ? error : nil, bound: bound, ok: error <= bound))
  }

  /// Notes the error of a matrix whose largest term is `term`.
  mutating func note(
    _ kernel: String, _ actual: ScratchMatrix<Scalar>, _ exact: ScratchMatrix<Double>, term: Double, bound: Double
  ) {
    note(kernel, difference: actual.largestDifference(from: exact), term: term, bound: bound)
  }

  /// Notes the largest error relative to each exact value itself.
  mutating func noteRelative(
    _ kernel: String, _ actual: ScratchMatrix<Scalar>, _ exact: ScratchMatrix<Double>, bound: Double
  ) {
    var worst = 0.0
    for i in 0..<actual.count {
      // A unit of the last place is between u and 2u of the value; taken at the value's own binade.
      let unit = Double(Scalar(exact.pointer[i]).ulp)
      let error = abs(Double(actual.pointer[i]) - exact.pointer[i]) / unit
      worst = error.isNaN ? .infinity : max(worst, error)
    }
    note(kernel, difference: worst * Double(Scalar.ulpOfOne), term: 1, bound: bound)
  }

  // MARK: Products

  private mutating func testProducts() {
    // The first is one call of BLAS, the second is cut into several.
    for (m, n, k) in [(33, 65, 129), (70, 130, 190)] {
      for (name, transposeA, transposeB) in [("NN", false, false), ("NT", false, true), ("TN", true, false)] {
        let a = ScratchMatrix<Scalar>(normal: transposeA ? k : m, transposeA ? m : k, seed: 1)
        let b = ScratchMatrix<Scalar>(normal: transposeB ? n : k, transposeB ? k : n, seed: 2)
        let c = ScratchMatrix<Scalar>(m, n)
        TiledProduct.unsafeMultiply(
          transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a.pointer, a.view.stride, b.pointer,
          b.view.stride, accumulate: false, c.pointer, n)
        let (a64, b64) = (a.converted(to: Double.self), b.converted(to: Double.self))
        let exact = ScratchMatrix<Double>(m, n)
        ReferenceKernels.multiply(
          a64.view, transposeA: transposeA, b64.view, transposeB: transposeB, into: exact.view)
        // A sum of k products rounds at most k times, relative to Σ|a||b|.
        for matrix in [a64, b64] { matrix.dropSigns() }
        let terms = ScratchMatrix<Double>(m, n)
        ReferenceKernels.multiply(
          a64.view, transposeA: transposeA, b64.view, transposeB: transposeB, into: terms.view)
        note(
          "gemm \(name) \(m)×\(n)×\(k)", c, exact, term: terms.largest, bound: Double(k) / 2 + oracleUnits(k))
      }
    }
  }
}
