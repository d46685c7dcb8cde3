import Foundation
import Kernels
import ReferenceKernels

extension KernelSelfTest {
  mutating func testActivations() {
    for kind in ElementwiseActivation.allCases {
      let alpha = 0.5
      let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 3)
      let bias = ScratchMatrix<Scalar>(normal: 1, columns, seed: 4)
      // The exact sum may differ from the rounded one by half a unit, which no slope here (1.76 at most) triples.
      let sum = ScratchMatrix<Double>(rows, columns) { Double(x[$0, $1]) + Double(bias[0, $1]) }
      let exact = ScratchMatrix<Double>(rows, columns)
      ReferenceKernels.activate(sum.view, bias: nil, into: exact.view, kind: kind, alpha: alpha)
      let y = ScratchMatrix<Scalar>(rows, columns)
      table.activations.forward(x.view, bias.pointer, y.view, kind, alpha)
      note("activations.forward \(kind)", y, exact, term: max(sum.largest, exact.largest), bound: 4)

      let dy = ScratchMatrix<Scalar>(normal: rows, columns, seed: 5)
      let dx = ScratchMatrix<Scalar>(rows, columns)
      let input = ScratchMatrix<Scalar>(normal: rows, columns, seed: 6)
      table.activations.forward(input.view, nil, y.view, kind, alpha)
      table.activations.backward(dy.view, kind.gradientNeedsInput ? input.view : y.view, dx.view, kind, alpha)
      let exactGradient = ScratchMatrix<Double>(rows, columns)
      ReferenceKernels.activateBackward(
        dy.converted(to: Double.self).view, input: input.converted(to: Double.self).view, into: exactGradient.view,
        kind: kind, alpha: alpha)
      // The slope comes from y, which is off by up to 3 units, with three more operations.
      note("activations.backward \(kind)", dx, exactGradient, term: 2 * dy.largest, bound: 8)
    }
    testSoftmax()
  }

  private mutating func testSoftmax() {
    let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 7)
    let y = ScratchMatrix<Scalar>(rows, columns)
    let exact = ScratchMatrix<Double>(rows, columns)
    table.activations.softmax(x.view, y.view)
    ReferenceKernels.softmax(x.converted(to: Double.self).view, into: exact.view)
    // The difference to the maximum, below 8, is rounded to 4 units, and the sum rounds once a column.
    let sumUnits = Double(columns) / 2 + oracleUnits(columns)
    note("activations.softmax", y, exact, term: exact.largest, bound: sumUnits + 8)

    let dy = ScratchMatrix<Scalar>(normal: rows, columns, seed: 8)
    let dx = ScratchMatrix<Scalar>(rows, columns)
    table.activations.softmaxBackward(dy.view, y.view, dx.view)
    let exactGradient = ScratchMatrix<Double>(rows, columns)
    ReferenceKernels.softmaxBackward(
      dy.converted(to: Double.self).view, y.converted(to: Double.self).view, into: exactGradient.view)
    // y sums to 1, so Σ dy·y is at most the largest dy.
    note(
      "activations.softmaxBackward", dx, exactGradient, term: 2 * dy.largest * exact.largest, bound: sumUnits + 4)
  }

  mutating func testElementaryFunctions() {
    let x = ScratchMatrix<Scalar>(normal: rows, columns, seed: 9)
    let positive = ScratchMatrix<Scalar>(rows, columns) { Double(abs(x[$0, $1])) * 10 + 0.01 }
    let kernels = table.activations
    compare("exponential", kernels.exponential, to: { exp($0) }, at: x)
    compare("logarithm", kernels.logarithm, to: { log($0) }, at: positive)
    compare("hyperbolicTangent", kernels.hyperbolicTangent, to: { ReferenceKernels.value(.tanh, $0, alpha: 0) }, at: x)
    compare("logistic", kernels.logistic, to: { ReferenceKernels.value(.sigmoid, $0, alpha: 0) }, at: x)
  }

  private mutating func compare(
    _ name: String, _ kernel: (UnsafePointer<Scalar>, UnsafeMutablePointer<Scalar>, Int) -> Void,
    to exact: (Double) -> Double, at x: ScratchMatrix<Scalar>
  ) {
    let y = ScratchMatrix<Scalar>(rows, columns)
    kernel(x.pointer, y.pointer, x.count)
    let expected = ScratchMatrix<Double>(rows, columns) { exact(Double(x[$0, $1])) }
    // 2 units with fused multiply-add, 3 without; libm's own 1 shows in Double.
    let units = table.instructionSet == InstructionSet.portable.rawValue ? 3.0 : 2
    noteRelative("activations.\(name)", y, expected, bound: units + oracleUnits(2))
  }
}
