import Kernels
import RandomNumbers
import ReferenceKernels
import Testing

/// The updates against the oracle in Double over three steps, in every instruction set and both scalar types.
///
/// Each kernel rounds at most a dozen times (its hyperparameters to the scalar type, then one per operation), and each
/// rounding is at most one unit of the terms' magnitudes; three steps multiply that by three: 64 units bound it all.
@Suite struct OptimizerKernelsTests {
  let units = 64.0

  /// w, g and the moments of a parameter vector.
  private struct State<S: KernelScalar> {
    var w: PaddedMatrix<S>
    var g: PaddedMatrix<S>
    var first: PaddedMatrix<S>
    var second: PaddedMatrix<S>
    var third: PaddedMatrix<S>

    init(_ count: Int) {
      var random = Philox(seed: 3, stream: UInt64(count))
      func vector(_ value: () -> Double) -> PaddedMatrix<S> { PaddedMatrix(1, count) { _, _ in value() } }
      w = vector { random.nextNormal() }
      g = vector { random.nextNormal() }
      first = vector { 0.5 * random.nextNormal() }
      second = vector { random.nextUniform() + 0.25 }
      third = vector { 0.1 * random.nextNormal() }
    }

    init(copying s: State<Float>) where S == Double {
      (w, g, first, second, third) = (s.w.widened, s.g.widened, s.first.widened, s.second.widened, s.third.widened)
    }

    init(copying s: State<Double>) where S == Double {
      (w, g, first, second, third) = (s.w.widened, s.g.widened, s.first.widened, s.second.widened, s.third.widened)
    }

    var isIntact: Bool {
      w.paddingIsIntact && g.paddingIsIntact && first.paddingIsIntact && second.paddingIsIntact
        && third.paddingIsIntact
    }
  }

  private typealias Update<S: KernelScalar> = (State<S>, Int) -> Void

  private func check<S: KernelScalar>(
    _ what: String, _ widen: (State<S>) -> State<Double>, _ kernel: Update<S>, _ oracle: Update<Double>
  ) {
    for count in awkwardSizes {
      let actual = State<S>(count)
      let expected = widen(actual)
      for _ in 0..<3 {
        kernel(actual, count)
        oracle(expected, count)
      }
      // No term of any update exceeds 8 with these inputs: |w| + learning rate · |g| / √variance.
      let scale = [Double](repeating: 8, count: count)
      expectClose(actual.w.elements, expected.w.elements, units: units, scale: scale, "\(what), w, \(count)")
      expectClose(actual.first.elements, expected.first.elements, units: units, scale: scale, "\(what), 1st, \(count)")
      expectClose(
        actual.second.elements, expected.second.elements, units: units, scale: scale, "\(what), 2nd, \(count)")
      expectClose(actual.third.elements, expected.third.elements, units: units, scale: scale, "\(what), 3rd, \(count)")
      #expect(actual.isIntact)
    }
  }

  private func checkAll<S: KernelScalar>(_ table: OptimizerKernels<S>, _ widen: (State<S>) -> State<Double>) {
    check("SGD", widen) {
      table.sgd($0.w.pointer, $0.g.pointer, $1, 0.1, 0.98)
    } _: {
      ReferenceKernels.sgd($0.w.pointer, $0.g.pointer, $1, 0.1, 0.98)
    }
    for nesterov in [false, true] {
      check("momentum, Nesterov \(nesterov)", widen) {
        table.momentum($0.w.pointer, $0.g.pointer, $0.first.pointer, $1, 0.1, 0.9, nesterov, 0.98)
      } _: {
        ReferenceKernels.momentum($0.w.pointer, $0.g.pointer, $0.first.pointer, $1, 0.1, 0.9, nesterov, 0.98)
      }
    }
    check("Adam", widen) {
      table.adam($0.w.pointer, $0.g.pointer, $0.first.pointer, $0.second.pointer, $1, 0.1, 0.9, 0.999, 1e-7, 0.98)
    } _: {
      ReferenceKernels.adam(
        $0.w.pointer, $0.g.pointer, $0.first.pointer, $0.second.pointer, $1, 0.1, 0.9, 0.999, 1e-7, 0.98)
    }
    for centered in [false, true] {
      for moving in [false, true] {
        check("RMSprop, centered \(centered), momentum \(moving)", widen) {
          table.rmsprop(
            $0.w.pointer, $0.g.pointer, $0.second.pointer, moving ? $0.first.pointer : nil,
            centered ? $0.third.pointer : nil, $1, 0.01, 0.9, 0.9, 1e-7, 0.98)
        } _: {
          ReferenceKernels.rmsprop(
            $0.w.pointer, $0.g.pointer, $0.second.pointer, moving ? $0.first.pointer : nil,
            centered ? $0.third.pointer : nil, $1, 0.01, 0.9, 0.9, 1e-7, 0.98)
        }
      }
    }
  }

  @Test(arguments: supportedSets) func updatesMatchOracle(set: InstructionSet) {
    checkAll(Float.kernels(for: set).optimizers) { State(copying: $0) }
    checkAll(Double.kernels(for: set).optimizers) { State(copying: $0) }
  }

  /// The bits of a parameter do not depend on where the vector is cut.
  @Test(arguments: supportedSets) func updatesDoNotDependOnPosition(set: InstructionSet) {
    func check<S: KernelScalar>(_ table: OptimizerKernels<S>) {
      let count = 83
      let (whole, cut) = (State<S>(count), State<S>(count))
      func run(_ s: State<S>, _ from: Int, _ n: Int) {
        let (w, g) = (s.w.pointer + from, s.g.pointer + from)
        let (a, b, c) = (s.first.pointer + from, s.second.pointer + from, s.third.pointer + from)
        table.adam(w, g, a, b, n, 0.1, 0.9, 0.999, 1e-7, 0.99)
        table.rmsprop(w, g, b, a, c, n, 0.01, 0.9, 0.9, 1e-7, 1)
        table.momentum(w, g, a, n, 0.1, 0.9, true, 1)
        table.sgd(w, g, n, 0.1, 0.99)
      }
      run(whole, 0, count)
      for piece in [0..<1, 1..<18, 18..<49, 49..<80, 80..<83] { run(cut, piece.lowerBound, piece.count) }
      #expect(whole.w.elements == cut.w.elements)
      #expect(whole.first.elements == cut.first.elements)
      #expect(whole.second.elements == cut.second.elements)
      #expect(whole.third.elements == cut.third.elements)
    }
    check(Float.kernels(for: set).optimizers)
    check(Double.kernels(for: set).optimizers)
  }

  /// A constant gradient has no variance: rounding must not bring a negative one under the root.
  @Test(arguments: supportedSets) func centeredRMSpropSurvivesConstantGradients(set: InstructionSet) {
    let table = Float.kernels(for: set).optimizers
    let w = PaddedMatrix<Float>(1, 17)
    let g = PaddedMatrix<Float>(1, 17) { 1000 + 3.7 * Double($1) }
    let (v, average) = (PaddedMatrix<Float>(1, 17), PaddedMatrix<Float>(1, 17))
    for _ in 0..<300 { table.rmsprop(w.pointer, g.pointer, v.pointer, nil, average.pointer, 17, 1e-6, 0.9, 0, 1e-7, 1) }
    #expect(w.elements.allSatisfy { $0.isFinite })
  }

  /// Adam's update of w = 0 is −alpha·m/(√v + ε) with what m and v have become.
  ///
  /// Root, sum, numerator and product round by 2⁻²⁴ (2⁻⁵³) of themselves, the reciprocal by twice that; an ulp is at
  /// least that part of a result: 6 ulp in all.
  @Test(arguments: supportedSets) func adamDividesAccurately(set: InstructionSet) {
    func check<S: KernelScalar>(_: S.Type) {
      let count = 4000
      var random = Philox(seed: 9, stream: 1)
      let g = PaddedMatrix<S>(1, count) { _, _ in random.nextNormal() }
      let m = PaddedMatrix<S>(1, count) { _, _ in random.nextNormal() }
      // From far below ε² to far above 1.
      let v = PaddedMatrix<S>(1, count) { _, column in
        Double(sign: .plus, exponent: column % 90 - 60, significand: 1.37)
      }
      let w = PaddedMatrix<S>(1, count)
      let (alpha, epsilon) = (S(0.0123), S(1e-7))
      S.kernels(for: set).optimizers.adam(
        w.pointer, g.pointer, m.pointer, v.pointer, count, Double(alpha), 0.9, 0.999, Double(epsilon), 1)
      var worst = 0.0
      for i in 0..<count {
        let exact = -Double(alpha) * Double(m[0, i]) / (Double(v[0, i]).squareRoot() + Double(epsilon))
        worst = max(worst, ulpError(S(w[0, i]), exact))
      }
      #expect(worst <= 6, "\(S.self) \(set): \(worst) ulp")
    }
    check(Float.self)
    check(Double.self)
  }

  /// A gradient whose square overflows moves nothing far, and makes no NaN of the weights.
  @Test(arguments: supportedSets) func overflowingSquaresLeaveTheWeights(set: InstructionSet) {
    func check<S: KernelScalar>(_: S.Type, _ gradient: S) {
      let table = S.kernels(for: set).optimizers
      let g = PaddedMatrix<S>(1, 19) { _, _ in Double(gradient) }
      let (m, v, u) = (PaddedMatrix<S>(1, 19), PaddedMatrix<S>(1, 19), PaddedMatrix<S>(1, 19))
      let w = PaddedMatrix<S>(1, 19) { _, _ in 1 }
      table.adam(w.pointer, g.pointer, m.pointer, v.pointer, 19, 1e-3, 0.9, 0.999, 1e-7, 1)
      #expect(v.elements.allSatisfy { $0 == .infinity } && w.elements.allSatisfy { $0 == 1 })
      table.rmsprop(w.pointer, g.pointer, u.pointer, nil, nil, 19, 1e-3, 0.9, 0, 1e-7, 1)
      #expect(u.elements.allSatisfy { $0 == .infinity } && w.elements.allSatisfy { $0 == 1 })
    }
    check(Float.self, 1e20)
    check(Double.self, 1e160)
  }
}
