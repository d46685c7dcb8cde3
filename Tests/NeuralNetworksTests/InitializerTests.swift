import LinearAlgebra
import NeuralNetworks
import Testing

/// First values of parameters: limits, deviations, orthogonality, and what seeds decide.
@Suite("Initializers")
struct InitializerTests {
  static let vectors = Result { try GoldenVectors.load("initializers", as: GoldenVectors.Initializers.self) }

  @Test("Limits and deviations as Keras's", arguments: 0..<36)
  func golden(index: Int) throws {
    let vectors = try Self.vectors.get()
    try #require(vectors.cases.count == 36)
    let item = vectors.cases[index]
    let initializer = try #require(Initializer(golden: item.initializer))
    if let limit = initializer.uniformLimit(fanIn: item.fanIn, fanOut: item.fanOut) {
      #expect(abs(limit - item.limit) <= 4 * item.limit.ulp)
    } else {
      let deviation = try #require(initializer.normalDeviation(fanIn: item.fanIn, fanOut: item.fanOut))
      #expect(abs(deviation - item.standardDeviation) <= 4 * item.standardDeviation.ulp)
    }
    // A kernel of few values says little of its deviation: repeat it over seeds to 20,000 values or more.
    let repeats = max(1, 20_000 / (item.fanIn * item.fanOut))
    var values: [Double] = []
    for seed in 0..<UInt64(min(repeats, 2000)) {
      values += try kernel(initializer, item.fanIn, item.fanOut, seed: seed)
    }
    #expect(values.allSatisfy { abs($0) <= item.limit * (1 + 1e-12) })
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let deviation = (values.reduce(0) { $0 + $1 * $1 } / count).squareRoot()
    // Six standard errors: of a mean σ/√n, of a deviation at most σ·√(kurtosis − 1)/2√n ≤ 0.75σ/√n for uniform and
    // truncated normal values. The seeds are fixed.
    #expect(abs(mean) <= 6 * item.standardDeviation / count.squareRoot())
    #expect(abs(deviation - item.standardDeviation) <= 4.5 * item.standardDeviation / count.squareRoot())
    #expect(values.map(abs).max()! > 0.98 * item.limit)
  }

  @Test("Orthogonal kernels have orthonormal rows or columns, times the gain")
  func orthogonal() throws {
    for (inputs, outputs) in [(20, 20), (33, 7), (7, 33), (1, 5)] {
      let values = try kernel(.orthogonal(gain: 2), inputs, outputs, seed: 3)
      let (length, count) = (max(inputs, outputs), min(inputs, outputs))
      func element(_ vector: Int, _ place: Int) -> Double {
        inputs >= outputs ? values[place * outputs + vector] : values[vector * outputs + place]
      }
      for left in 0..<count {
        for right in 0...left {
          let product = (0..<length).reduce(0) { $0 + element(left, $1) * element(right, $1) }
          // Householder QR is orthogonal to a few ulp per reflection.
          #expect(abs(product - (left == right ? 4 : 0)) <= Double(8 * length) * 4.0.ulp)
        }
      }
    }
  }

  @Test("Zeros, ones, constants, bounds and plain normals")
  func others() throws {
    #expect(try kernel(.zeros, 3, 4, seed: 0).allSatisfy { $0 == 0 })
    #expect(try kernel(.ones, 3, 4, seed: 0).allSatisfy { $0 == 1 })
    #expect(try kernel(.constant(0.3), 3, 4, seed: 0).allSatisfy { $0 == 0.3 })
    let uniform = try kernel(.uniform(low: 2, high: 3), 50, 50, seed: 0)
    #expect(uniform.allSatisfy { (2..<3).contains($0) } && uniform.max()! > 2.99 && uniform.min()! < 2.01)
    let normal = try kernel(.normal(mean: 1, standardDeviation: 0.5), 100, 100, seed: 0)
    let mean = normal.reduce(0, +) / 1e4
    // Six standard errors over 10,000 values.
    #expect(abs(mean - 1) <= 6 * 0.5 / 100 && normal.contains { abs($0 - 1) > 1 })
    let truncated = try kernel(.truncatedNormal(mean: 1, standardDeviation: 0.5), 100, 100, seed: 0)
    #expect(truncated.allSatisfy { abs($0 - 1) <= 1 } && truncated.contains { abs($0 - 1) > 0.95 })
  }

  @Test("A seed decides; a layer more or less leaves the others' values; Float is Double rounded")
  func seeds() throws {
    func model<Scalar: NetworkScalar>(_: Scalar.Type, seed: UInt64, extra: Bool) throws -> Sequential<Scalar> {
      let model = Sequential<Scalar>(seed: seed, layers: [Dense(70), Dense(9)] + (extra ? [Dense(3)] : []))
      try model.build(inputShape: [20])
      return model
    }
    let reference = try model(Double.self, seed: 4, extra: false).parameter("dense_1.kernel")
    #expect(try model(Double.self, seed: 4, extra: true).parameter("dense_1.kernel") == reference)
    #expect(try model(Double.self, seed: 5, extra: false).parameter("dense_1.kernel") != reference)
    let narrow = try model(Float.self, seed: 4, extra: false).parameter("dense_1.kernel")
    #expect(narrow.scalars == reference.scalars.map { Float($0) })
    let first = try model(Double.self, seed: 4, extra: false).parameter("dense.kernel").scalars
    #expect(!zip(first, reference.scalars).contains { $0 == $1 })
  }

  private func kernel(_ initializer: Initializer, _ inputs: Int, _ outputs: Int, seed: UInt64) throws -> [Double] {
    let model = Sequential<Double>(seed: seed, layers: [Dense(outputs, kernelInitializer: initializer)])
    try model.build(inputShape: [inputs])
    return try model.parameter("dense.kernel").scalars
  }
}

extension Initializer {
  /// The initializer that a golden file names.
  init?(golden name: String) {
    switch name {
    case "glorot_uniform": self = .glorotUniform
    case "glorot_normal": self = .glorotNormal
    case "he_uniform": self = .heUniform
    case "he_normal": self = .heNormal
    case "lecun_uniform": self = .lecunUniform
    case "lecun_normal": self = .lecunNormal
    default: return nil
    }
  }
}
