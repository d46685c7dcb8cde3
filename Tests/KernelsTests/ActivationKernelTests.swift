import Foundation
import Kernels
import ReferenceKernels
import Testing

/// The error allowed to f(x), in ulp of it: elementary functions have 3, scaled or divided again.
private let valueUlps = 6.0

private func alpha(_ kind: ElementwiseActivation) -> Double { kind == .leakyReLU ? 0.3 : 1 }

private func parity<Scalar: KernelScalar>(_ type: Scalar.Type, _ set: InstructionSet, rows: Int, columns: Int) {
  let table = Scalar.kernels(for: set).activations
  let u = Double(Scalar.ulpOfOne)
  for kind in ElementwiseActivation.allCases {
    for hasBias in [false, true] {
      var numbers = TestNumbers(UInt64(rows * 4096 + columns) + UInt64(kind.rawValue))
      let x = TestMatrix<Scalar>(rows, columns) { _, _ in Scalar(numbers.normal() * 3) }
      let bias = (0..<columns).map { _ in Scalar(numbers.normal()) }
      let sum = TestMatrix<Scalar>(rows, columns) { x[$0, $1] + (hasBias ? bias[$1] : 0) }
      let y = TestMatrix<Scalar>(rows, columns, extra: 1)
      bias.withUnsafeBufferPointer {
        table.forward(x.view, hasBias ? $0.baseAddress : nil, y.view, kind, alpha(kind))
      }
      #expect(y.guardsIntact && x.guardsIntact)
      let dy = TestMatrix<Scalar>(rows, columns, extra: 2) { _, _ in Scalar(numbers.normal()) }
      let dx = TestMatrix<Scalar>(rows, columns)
      table.backward(dy.view, kind.gradientNeedsInput ? x.view : y.view, dx.view, kind, alpha(kind))
      #expect(dx.guardsIntact && dy.guardsIntact)
      var worst = 0.0
      var worstGradient = 0.0
      for row in 0..<rows {
        for column in 0..<columns {
          let input = Double(sum[row, column])
          worst = max(worst, ulpError(y[row, column], ReferenceKernels.value(kind, input, alpha: alpha(kind))))
          let slope = ReferenceKernels.derivative(kind, input, alpha: alpha(kind))
          let exact = Double(dy[row, column]) * slope
          // f′ from the rounded y: 1 − y, y + α and Φ + xφ have an error of some ulp of 1, not of f′.
          worstGradient = max(worstGradient, abs(Double(dx[row, column]) - exact) / abs(Double(dy[row, column])))
          if kind.gradientNeedsInput { #expect(x[row, column] == sum[row, column]) }
        }
      }
      #expect(worst <= valueUlps, "\(kind) \(set) \(rows)×\(columns): \(worst) ulp")
      #expect(worstGradient <= 8 * u, "\(kind) \(set) \(rows)×\(columns): \(worstGradient / u) ulp of 1")
    }
  }
}

private func softmaxParity<Scalar: KernelScalar>(_ type: Scalar.Type, _ set: InstructionSet, rows: Int, columns: Int) {
  let table = Scalar.kernels(for: set).activations
  var numbers = TestNumbers(UInt64(rows * 4096 + columns))
  let x = TestMatrix<Scalar>(rows, columns) { _, _ in Scalar(numbers.normal() * 4 + 50) }
  let dy = TestMatrix<Scalar>(rows, columns, extra: 1) { _, _ in Scalar(numbers.normal()) }
  let y = TestMatrix<Scalar>(rows, columns, extra: 2)
  let dx = TestMatrix<Scalar>(rows, columns)
  table.softmax(x.view, y.view)
  table.softmaxBackward(dy.view, y.view, dx.view)
  #expect(y.guardsIntact && dx.guardsIntact && x.guardsIntact)
  let y64 = TestMatrix<Double>(rows, columns)
  let dx64 = TestMatrix<Double>(rows, columns)
  let (x64, dy64, output64) = (x.inDouble, dy.inDouble, y.inDouble)
  ReferenceKernels.softmax(x64.view, into: y64.view)
  ReferenceKernels.softmaxBackward(dy64.view, output64.view, into: dx64.view)
  let u = Double(Scalar.ulpOfOne)
  // x − max is rounded: half an ulp of up to 60 below the exponent; the sum has columns/lanes + 4 roundings.
  let roundings = 40 + Double(columns) / 8
  for row in 0..<rows {
    let size = (0..<columns).map { abs(Double(dy[row, $0]) * y64[row, $0]) }.reduce(0, +)
    for column in 0..<columns {
      let exact = y64[row, column]
      #expect(abs(Double(y[row, column]) - exact) <= roundings * u * exact)
      let bound = u * Double(y[row, column]) * (abs(Double(dy[row, column])) + size * roundings)
      #expect(abs(Double(dx[row, column]) - dx64[row, column]) <= bound)
    }
  }
  table.softmax(x.view, x.view)
  for row in 0..<rows {
    for column in 0..<columns { #expect(x[row, column] == y[row, column]) }
  }
}

@Suite struct ActivationKernelTests {
  @Test(arguments: supportedSets)
  func matchTheOracle(set: InstructionSet) {
    for rows in [1, 2, 33] {
      for columns in awkwardSizes where rows == 1 || columns < 100 {
        parity(Float.self, set, rows: rows, columns: columns)
        parity(Double.self, set, rows: rows, columns: columns)
      }
    }
  }

  @Test(arguments: supportedSets)
  func softmaxMatchesTheOracle(set: InstructionSet) {
    for rows in [1, 7, 33] {
      for columns in awkwardSizes + [3, 8, 9, 10] {
        softmaxParity(Float.self, set, rows: rows, columns: columns)
        softmaxParity(Double.self, set, rows: rows, columns: columns)
      }
    }
  }

  @Test(arguments: supportedSets)
  func softmaxStandsLargeLogitsAndHandsOnNaN(set: InstructionSet) {
    for columns in [3, 16, 17, 40] {
      let x = TestMatrix<Float>(3, columns) { row, column in
        switch row {
        case 0: column == 1 ? 3e38 : -3e38
        case 1: column == columns - 1 ? -.infinity : 100
        default: column == columns - 1 ? .nan : Float(column)
        }
      }
      Float.kernels(for: set).activations.softmax(x.view, x.view)
      for column in 0..<columns {
        #expect(x[0, column] == (column == 1 ? 1 : 0))
        #expect(column == columns - 1 ? x[1, column] == 0 : abs(x[1, column] * Float(columns - 1) - 1) < 1e-6)
        #expect(x[2, column].isNaN)
      }
    }
  }

  @Test(arguments: supportedSets)
  func limitsAndNaN(set: InstructionSet) {
    let table = Float.kernels(for: set).activations
    let inputs: [Float] = [.nan, .infinity, -.infinity, 1e30, -1e30, 0, 1e-8, -1e-8]
    for kind in ElementwiseActivation.allCases {
      let x = TestMatrix<Float>(1, inputs.count) { inputs[$1] }
      let y = TestMatrix<Float>(1, inputs.count)
      table.forward(x.view, nil, y.view, kind, alpha(kind))
      for (column, input) in inputs.enumerated() {
        let exact = ReferenceKernels.value(kind, Double(input), alpha: alpha(kind))
        #expect(ulpError(y[0, column], exact) <= valueUlps, "\(kind)(\(input)) = \(y[0, column]), not \(exact)")
      }
      let saved = kind.gradientNeedsInput ? x : y
      let dx = TestMatrix<Float>(1, inputs.count)
      let ones = TestMatrix<Float>(1, inputs.count) { _, _ in 1 }
      table.backward(ones.view, saved.view, dx.view, kind, alpha(kind))
      for (column, input) in inputs.enumerated() where !input.isNaN {
        let exact = ReferenceKernels.derivative(kind, Double(input), alpha: alpha(kind))
        #expect(abs(Double(dx[0, column]) - exact) <= 8 * 0x1p-23, "\(kind)′(\(input)) = \(dx[0, column])")
      }
    }
  }

  @Test(arguments: supportedSets)
  func geluKeepsItsDigitsFarBelowZero(set: InstructionSet) {
    // Relative accuracy while ½·erfc is normal; where it is subnormal, its last place counts |x| < 16 times.
    let x = TestMatrix<Float>(1, 1500) { Float(-15) + Float($1) * 0.01 }
    let y = TestMatrix<Float>(1, 1500)
    Float.kernels(for: set).activations.forward(x.view, nil, y.view, .gelu, 0)
    var worst = 0.0
    for column in 0..<1500 {
      let error = ulpError(y[0, column], ReferenceKernels.value(.gelu, Double(x[0, column]), alpha: 0))
      worst = max(worst, y[0, column].magnitude < 16 * .leastNormalMagnitude ? error / 16 : error)
    }
    #expect(worst <= valueUlps, "\(worst) ulp")
  }

  @Test(arguments: supportedSets)
  func everyKernelIsThere(set: InstructionSet) {
    for child in Mirror(reflecting: Float.kernels(for: set).activations).children {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") has no Float kernel")
    }
    for child in Mirror(reflecting: Double.kernels(for: set).activations).children {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") has no Double kernel")
    }
  }
}
