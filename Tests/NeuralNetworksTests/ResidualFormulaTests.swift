import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Blocks with a shortcut against the formula written out.
@Suite("Residual blocks and their formula")
struct ResidualFormulaTests {
  @Test("Fused forward and backward are the formula, within roundings", arguments: [2, 7, 33], [1, 15, 16, 17, 65])
  func formula(rows: Int, width: Int) throws {
    for relu in [false, true] {
      try FormulaCase<Float>(rows: rows, width: width, relu: relu).run()
      try FormulaCase<Double>(rows: rows, width: width, relu: relu).run()
    }
  }

  @Test("Without a normalization small whole numbers come out to the bit", arguments: [1, 7, 33], [1, 16, 65])
  func exactly(rows: Int, width: Int) throws {
    for relu in [false, true] {
      try FormulaCase<Float>(rows: rows, width: width, relu: relu).runExactly()
      try FormulaCase<Double>(rows: rows, width: width, relu: relu).runExactly()
    }
  }
}

/// One block on inputs, weights and gradients that are small multiples of powers of two: products and sums of them are
/// exact, so that only what is fused rounds.
private struct FormulaCase<Scalar: NetworkScalar> {
  let rows: Int
  let width: Int
  let relu: Bool

  private var u: Double { Double(Scalar.ulpOfOne) / 2 }
  private let epsilon = 0.125

  private func draw(_ count: Int, _ purpose: StaticString, unit: Double) -> [Double] {
    var generator = Philox(seed: UInt64(rows * 1000 + width), purpose: purpose)
    return (0..<count).map { _ in Double(generator.nextInteger(below: 9) - 4) * unit }
  }

  private var x: [Double] { draw(rows * width, "x", unit: 0.25) }
  private var dy: [Double] { draw(rows * width, "dy", unit: 0.125) }
  private var kernel: [Double] { draw(width * width, "kernel", unit: 0.125) }

  /// A built model of an offset of 0 (whose gradient is that of x), the block, and a layer that sends `dy` back.
  private func model(_ block: [any Layer]) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(layers: [
      Offset<Scalar>(rows: rows, columns: width, name: "x"),
      Residual(activation: relu ? .relu : .linear, layers: block, name: "block"), GivenGradient<Scalar>(gradient: dy),
    ])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: [width])
    try set(model, "block.dense.kernel", kernel, [width, width])
    return model
  }

  private func set(_ model: Sequential<Scalar>, _ name: String, _ values: [Double], _ shape: [Int]) throws {
    try model.setParameter(name, to: Tensor(shape: shape) { Scalar(values[$0]) })
  }

  /// y, and after it the gradients by name.
  private func run(_ model: Sequential<Scalar>) throws -> (y: [Double], gradient: (String) throws -> [Double]) {
    let inputs = Tensor<Scalar>(shape: [rows, width]) { Scalar(x[$0]) }
    let y = try model.activations(of: "block", on: Samples(inputs), mode: .training).scalars.map { Double($0) }
    _ = try model.computeGradients(Samples(inputs, targets: .zeros([rows, width])))
    return (y, { try model.gradient($0).scalars.map { Double($0) } })
  }

  /// a·b of row-major matrices, `b` transposed where asked.
  private func product(_ a: [Double], _ b: [Double], transposed: Bool = false) -> [Double] {
    var result = [Double](repeating: 0, count: rows * width)
    for i in 0..<rows {
      for j in 0..<width {
        for k in 0..<width {
          result[i * width + j] += a[i * width + k] * (transposed ? b[j * width + k] : b[k * width + j])
        }
      }
    }
    return result
  }

  /// y = f(x·W + x): every operation is exact.
  func runExactly() throws {
    let (y, gradient) = try run(model([Dense(width, useBias: false)]))
    let sum = zip(product(x, kernel), x).map(+)
    #expect(y == (relu ? sum.map { max($0, 0) } : sum))
    let g = zip(dy, sum).map { relu && $1 <= 0 ? 0 : $0 }
    #expect(try gradient("x.values") == zip(product(g, kernel, transposed: true), g).map(+))
  }

  /// y = f(γ·(z − μ)/√(σ² + ε) + β + x) with z = x·W, which is exact.
  func run() throws {
    let model = try model([Dense(width, useBias: false), BatchNormalization(epsilon: epsilon)])
    let gamma = draw(width, "gamma", unit: 0.25).map { $0 + 1.5 }
    let beta = draw(width, "beta", unit: 0.25).map { $0 + 1 / 64 }
    try set(model, "block.batch_normalization.gamma", gamma, [width])
    try set(model, "block.batch_normalization.beta", beta, [width])
    let (y, gradient) = try run(model)
    let (dGamma, dBeta) = (
      try gradient("block.batch_normalization.gamma"), try gradient("block.batch_normalization.beta")
    )
    let z = product(x, kernel)
    let n = Double(rows)
    var dz = [Double](repeating: 0, count: rows * width)
    var dzError = dz
    var g = dz
    for c in 0..<width {
      let places = (0..<rows).map { $0 * width + c }
      let mean = places.reduce(0) { $0 + z[$1] } / n
      let variance = places.reduce(0) { $0 + (z[$1] - mean) * (z[$1] - mean) } / n
      let inverse = 1 / (variance + epsilon).squareRoot()
      // Roundings of one element: mean and variance within an ulp each, root, quotient, two products, three sums.
      for i in places {
        let normalized = (z[i] - mean) * inverse
        let sum = gamma[c] * normalized + beta[c] + x[i]
        let bound = 12 * u * (abs(gamma[c] * inverse) * (abs(z[i]) + abs(mean)) + abs(beta[c]) + abs(x[i]))
        #expect(abs(y[i] - (relu ? max(sum, 0) : sum)) <= bound)
        // Where rounding decides what the ReLU lets through, the model's own decision counts.
        g[i] = relu && (abs(sum) > bound ? sum <= 0 : y[i] == 0) ? 0 : dy[i]
      }
      let normalized = places.map { (z[$0] - mean) * inverse }
      let betaSum = places.reduce(0) { $0 + g[$1] }
      let gammaSum = zip(places, normalized).reduce(0) { $0 + g[$1.0] * $1.1 }
      let gammaTerms = zip(places, normalized).reduce(0) { $0 + abs(g[$1.0]) * (abs($1.1) + abs(mean) * inverse) }
      let betaTerms = places.reduce(0) { $0 + abs(g[$1]) }
      #expect(abs(dBeta[c] - betaSum) <= n * u * betaTerms)
      #expect(abs(dGamma[c] - gammaSum) <= (n + 8) * u * gammaTerms)
      for (i, xHat) in zip(places, normalized) {
        let reach = abs(xHat) + abs(mean) * inverse
        dz[i] = gamma[c] * inverse * (g[i] - betaSum / n - xHat * gammaSum / n)
        dzError[i] =
          (n + 16) * u * abs(gamma[c]) * inverse * (abs(g[i]) + betaTerms / n + reach * gammaTerms / n)
      }
    }
    let through = product(dz, kernel, transposed: true)
    let sizes = kernel.map { abs($0) }
    let throughError = product(dzError, sizes, transposed: true)
    let terms = product(dz.map { abs($0) }, sizes, transposed: true)
    for (i, dx) in try gradient("x.values").enumerated() {
      let bound = throughError[i] + Double(width + 2) * u * (terms[i] + abs(g[i]))
      #expect(abs(dx - (through[i] + g[i])) <= bound, "\(rows)×\(width) at \(i)")
    }
  }
}
