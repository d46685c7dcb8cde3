import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Batches whose inputs outgrow the caches: their products are made block by block for several tiles.
@Suite("Large batches")
struct LargeBatchTests {
  /// More than 4 MiB of inputs, no multiples of a tile's rows, columns or vectors.
  private static let (samples, inputs, units) = (2_210, 523, 330)

  @Test("A gradient is the mean of those of two halves, a step goes down it, and bits do not depend on the team")
  func gradients() throws {
    try check(Float.self)
    try check(Double.self)
  }

  /// All numbers are positive: nothing cancels, and a sum's relative error is at most its length in units of rounding.
  private func check<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    var generator = Philox(seed: 5, purpose: "large batches")
    func positive(_ shape: [Int], _ scale: Double) -> Tensor<Scalar> {
      Tensor(shape: shape) { _ in Scalar(Float(scale * (0.1 + generator.nextUniform()))) }
    }
    let x = positive([Self.samples, Self.inputs], 1)
    let kernels = [
      positive([Self.inputs, Self.units], 1 / Double(Self.inputs)), positive([Self.units, 3], 1 / Double(Self.units)),
    ]
    let data = try Samples(x, targets: Tensor(shape: [Self.samples, 3]) { _ in 0 })

    func model(threads: Int) throws -> Sequential<Scalar> {
      let model = Sequential<Scalar>(seed: 0, layers: [Dense(Self.units, name: "first"), Dense(3, name: "second")])
      try model.compile(optimizer: SGD(learningRate: 1), loss: .meanSquaredError, threads: threads)
      try model.build(inputShape: [Self.inputs])
      try model.setParameter("first.kernel", to: kernels[0])
      try model.setParameter("second.kernel", to: kernels[1])
      return model
    }
    func gradient(_ rows: Range<Int>, threads: Int) throws -> Tensor<Scalar> {
      let model = try model(threads: threads)
      _ = try model.computeGradients(data[rows])
      return try model.gradient("first.kernel")
    }

    let whole = try gradient(0..<Self.samples, threads: 1)
    let halves = try [0..<Self.samples / 2, Self.samples / 2..<Self.samples].map { try gradient($0, threads: 1) }
    // Sums over the inputs, the units and the samples, here and there; the subtraction from a weight rounds once more.
    let bound = Double(2 * (Self.samples + Self.inputs + Self.units + 10)) * Double(Scalar.ulpOfOne) / 2
    let mean = zip(halves[0].scalars, halves[1].scalars).map { (Double($0) + Double($1)) / 2 }
    #expect(zip(whole.scalars, mean).allSatisfy { abs(Double($0) - $1) <= bound * $1 }, "\(Scalar.self)")

    let trained = try model(threads: 1)
    _ = try trained.trainOnBatch(data)
    let (before, slopes, after) = (kernels[0].scalars, whole.scalars, try trained.parameter("first.kernel").scalars)
    let goesDown = after.indices.allSatisfy {
      let (weight, slope) = (Double(before[$0]), Double(slopes[$0]))
      return abs(Double(after[$0]) - (weight - slope)) <= Double(Scalar.ulpOfOne) * (weight + slope)
    }
    #expect(goesDown, "\(Scalar.self)")

    for threads in [2, 3] {
      #expect(try gradient(0..<Self.samples, threads: threads) == whole, "\(threads) threads, \(Scalar.self)")
      let other = try model(threads: threads)
      _ = try other.trainOnBatch(data)
      #expect(try other.weightsSHA256() == trained.weightsSHA256(), "\(threads) threads, \(Scalar.self)")
    }
  }
}
