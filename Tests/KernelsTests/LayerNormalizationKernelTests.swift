import KernelInterface
import Kernels
import ReferenceKernels
import Testing

/// Normalization of rows against plain loops in Double.
@Suite("Layer normalization kernels")
struct LayerNormalizationKernelTests {
  @Test("Forward and backward", arguments: supportedSets)
  func parity(set: InstructionSet) {
    for rows in [1, 2, 17] {
      for columns in awkwardSizes {
        for isAffine in [true, false] {
          check(Float.kernels(for: set), rows, columns, isAffine: isAffine)
          check(Double.kernels(for: set), rows, columns, isAffine: isAffine)
        }
      }
    }
  }

  @Test("Rows around an offset of a million keep their digits", arguments: supportedSets)
  func offset(set: InstructionSet) {
    check(Float.kernels(for: set), 5, 100, isAffine: true, offset: 1e6)
    check(Double.kernels(for: set), 5, 100, isAffine: true, offset: 1e6)
  }

  private func check<S: KernelScalar>(
    _ table: KernelTable<S>, _ rows: Int, _ columns: Int, isAffine: Bool, offset: Double = 0
  ) {
    var numbers = TestNumbers(UInt64(rows * 1000 + columns))
    func matrix(_ rows: Int, _ scale: Double, _ centre: Double) -> TestMatrix<S> {
      TestMatrix<S>(rows, columns) { _, _ in S(centre + scale * numbers.normal()) }
    }
    let (x, dy) = (matrix(rows, 2, offset), matrix(rows, 1, 0))
    let (gamma, beta) = (matrix(1, 0.25, 1), matrix(1, 1, 0))
    let (y, dx) = (TestMatrix<S>(rows, columns), TestMatrix<S>(rows, columns))
    let (dGamma, dBeta) = (TestMatrix<S>(1, columns), TestMatrix<S>(1, columns))
    let workspace = TestMatrix<Double>(1, 2 * columns)
    let (scale, shift) = isAffine ? (gamma.pointer, beta.pointer) : (nil, nil)
    table.layerNormalization.forward(x.view, scale, shift, 1e-3, y.view)
    table.layerNormalization.backward(
      dy.view, x.view, scale, 1e-3, dGamma.pointer, dBeta.pointer, dx.view, workspace.pointer)

    let (wideX, wideDY, wideGamma, wideBeta) = (x.inDouble, dy.inDouble, gamma.inDouble, beta.inDouble)
    let (wideScale, wideShift) = isAffine ? (wideGamma.pointer, wideBeta.pointer) : (nil, nil)
    let (wideY, wideDX) = (TestMatrix<Double>(rows, columns), TestMatrix<Double>(rows, columns))
    let (wideDGamma, wideDBeta) = (TestMatrix<Double>(1, columns), TestMatrix<Double>(1, columns))
    ReferenceKernels.layerNormalize(wideX.view, gamma: wideScale, beta: wideShift, epsilon: 1e-3, into: wideY.view)
    ReferenceKernels.layerNormalizeBackward(
      wideDY.view, wideX.view, gamma: wideScale, epsilon: 1e-3, dGamma: wideDGamma.pointer, dBeta: wideDBeta.pointer,
      dx: wideDX.view)

    // A row's sums run over columns/lanes terms in each lane and a tree of the lanes; values reach about 8, x̂ about
    // √columns where few are, dx 1/√ε ≈ 32 times dy where two columns nearly agree. The oracle itself subtracts a mean
    // that is rounded to half an ulp of the offset in Double.
    let terms = Double(columns) / Double(64 / MemoryLayout<S>.stride) + 24
    let oracle = offset.ulp * 32
    func expect(_ values: TestMatrix<S>, _ expected: TestMatrix<Double>, _ scale: Double, _ name: String) {
      var worst = 0.0
      for row in 0..<values.view.rows {
        for column in 0..<columns { worst = max(worst, abs(Double(values[row, column]) - expected[row, column])) }
      }
      let bound = scale * (terms * Double(S.ulpOfOne) + oracle)
      let what: String = "\(name), \(table.instructionSet) \(S.self), \(rows) × \(columns): \(worst) > \(bound)"
      #expect(worst <= bound, "\(what)")
      #expect(values.guardsIntact, "\(what)")
    }
    expect(y, wideY, 8, "y")
    expect(dx, wideDX, columns < 8 ? 512 : 16, "dx")
    expect(dGamma, wideDGamma, 8 * Double(rows), "dGamma")
    expect(dBeta, wideDBeta, 4 * Double(rows), "dBeta")
  }
}
