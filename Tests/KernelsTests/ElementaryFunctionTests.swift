import Foundation
import Kernels
import Testing

/// An elementary kernel, the libm function it must match, and what it must give at the ends.
private struct Elementary<Scalar: KernelScalar>: Sendable {
  typealias Kernel = @Sendable (UnsafePointer<Scalar>, UnsafeMutablePointer<Scalar>, Int) -> Void
  let name: String
  let kernel: @Sendable (ActivationKernels<Scalar>) -> Kernel
  let exact: @Sendable (Double) -> Double
  #if arch(x86_64)
    /// The same in more digits than Double has.
    var extended: @Sendable (Float80) -> Float80 {
      switch name {
      case "exponential": { exp($0) }
      case "logarithm": { log($0) }
      case "hyperbolicTangent": { tanh($0) }
      default: { 1 / (1 + exp(-$0)) }
      }
    }
  #endif

  static var all: [Elementary] {
    [
      Elementary(name: "exponential", kernel: { $0.exponential }, exact: { exp($0) }),
      Elementary(name: "logarithm", kernel: { $0.logarithm }, exact: { log($0) }),
      Elementary(name: "hyperbolicTangent", kernel: { $0.hyperbolicTangent }, exact: { tanh($0) }),
      Elementary(
        name: "logistic", kernel: { $0.logistic }, exact: { $0 < 0 ? exp($0) / (1 + exp($0)) : 1 / (1 + exp(-$0)) }),
    ]
  }
}

// Fused multiply-add: 2 ulp; without: 3. Where there is no wider type Double is compared with libm, up to 1 ulp off.
private func bound<Scalar>(_ set: InstructionSet, _ type: Scalar.Type) -> Double {
  #if arch(x86_64)
    set == .portable ? 3 : 2
  #else
    (set == .portable ? 3 : 2) + (type == Double.self ? 1 : 0)
  #endif
}

private func outputs<Scalar: KernelScalar>(
  _ function: Elementary<Scalar>, _ set: InstructionSet, _ inputs: [Scalar]
) -> [Scalar] {
  var outputs = [Scalar](repeating: 0, count: inputs.count)
  function.kernel(Scalar.kernels(for: set).activations)(inputs, &outputs, inputs.count)
  return outputs
}

private func worst<Scalar: KernelScalar>(
  _ function: Elementary<Scalar>, _ set: InstructionSet, _ inputs: [Scalar]
) -> (error: Double, input: Scalar) {
  var worst = (error: 0.0, input: Scalar(0))
  for (x, y) in zip(inputs, outputs(function, set, inputs)) {
    let exact = function.exact(Double(x))
    #if arch(x86_64)
      let low =
        Scalar.self == Double.self && exact.isFinite ? Double(function.extended(Float80(x)) - Float80(exact)) : 0
    #else
      let low = 0.0
    #endif
    let error = ulpError(y, exact, low)
    if error > worst.error { worst = (error, x) }
  }
  return worst
}

@Suite struct ElementaryFunctionTests {
  @Test(arguments: supportedSets)
  func floatOverTheWholeRange(set: InstructionSet) {
    // Every 4,099th bit pattern: all exponents, both signs, subnormals, infinities and NaNs.
    var inputs = stride(from: UInt64(0), to: 1 << 32, by: 4099).map { Float(bitPattern: UInt32($0)) }
    // And where results are neither 0, 1 nor infinite, as many of every exponent.
    var numbers = TestNumbers(6)
    for exponent in -26...6 {
      for _ in 0..<2000 {
        let x = Float(sign: .plus, exponent: exponent, significand: Float(1 + numbers.uniform()))
        inputs += [x, -x]
      }
    }
    for function in Elementary<Float>.all {
      let (error, input) = worst(function, set, inputs)
      print("\(function.name) Float \(set): \(error) ulp at \(input)")
      #expect(error <= bound(set, Float.self), "\(function.name)(\(input)) is \(error) ulp off")
    }
  }

  @Test(arguments: supportedSets)
  func doubleOverTheWholeRange(set: InstructionSet) {
    let inputs = stride(from: UInt64(0), to: .max - 0x1_0000_0000_0000, by: 0x1000_0000_0F1D).map {
      Double(bitPattern: $0)
    }
    var numbers = TestNumbers(5)
    let moderate = (0..<200_000).map { _ in (numbers.uniform() - 0.5) * 80 }
    for function in Elementary<Double>.all {
      let (error, input) = worst(function, set, inputs + moderate)
      print("\(function.name) Double \(set): \(error) ulp at \(input)")
      #expect(error <= bound(set, Double.self), "\(function.name)(\(input)) is \(error) ulp off")
    }
  }

  /// An element's bits depend neither on its place nor on what stands beside it.
  @Test(arguments: supportedSets)
  func resultsDoNotDependOnPosition(set: InstructionSet) {
    func check<Scalar: KernelScalar>(_: Scalar.Type) {
      var numbers = TestNumbers(7)
      let inputs = (0..<83).map { _ in Scalar(numbers.normal() * 4) }
      for function in Elementary<Scalar>.all {
        let whole = outputs(function, set, inputs)
        for (index, input) in inputs.enumerated() {
          let alone = outputs(function, set, [input])[0]
          #expect(alone == whole[index] || (alone.isNaN && whole[index].isNaN), "\(function.name)(\(input))")
        }
      }
    }
    check(Float.self)
    check(Double.self)
  }
}
