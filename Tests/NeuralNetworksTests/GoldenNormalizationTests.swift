import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// BatchNormalization in Keras's, PyTorch's and the paper's convention against those systems: twenty training steps.
@Suite("Golden conventions of batch normalization")
struct GoldenNormalizationTests {
  typealias Case = GoldenVectors.NormalizationConventions.Case

  static let vectors = Result {
    try GoldenVectors.load("normalization_conventions", as: GoldenVectors.NormalizationConventions.self)
  }

  @Test("Every case, in Double and Float", arguments: 0..<46)
  func agree(index: Int) throws {
    let cases = try Self.vectors.get().cases
    #expect(cases.count == 46)
    try check(cases[index], Double.self)
    try check(cases[index], Float.self)
  }

  private func layer(_ item: Case) -> BatchNormalization {
    let convention: BatchNormalization.Convention =
      switch item.convention {
      case "keras": .keras
      case "pytorch": .pytorch
      default: .paper
      }
    let renormalization = item.renorm.map {
      BatchRenormalization(rmax: .constant($0.rmax), rmin: $0.rmin, dmax: .constant($0.dmax), weightOfOld: 0.9)
    }
    return BatchNormalization(
      convention: convention, axis: item.axis, affine: item.affine, renormalization: renormalization, name: "bn")
  }

  private func check<Scalar: NetworkScalar>(_ item: Case, _: Scalar.Type) throws {
    let sample = Array(item.shape.dropFirst())
    let width = sample[sample.count - 1]
    let rows = item.shape.reduce(1, *) / width
    let features = item.axis < 0 ? width : item.shape[item.axis]
    func tensor(_ offset: Int, _ shape: [Int], _ change: (Double) -> Double) -> Tensor<Scalar> {
      let values = GoldenVectors.hashed(seed: item.seed + offset, count: shape.reduce(1, *))
      return Tensor(shape: shape) { Scalar(change(values[$0])) }
    }
    let dy = tensor(5, item.shape) { $0 }.scalars.map { Double($0) }
    let model = Sequential<Scalar>(layers: [
      Offset<Scalar>(rows: rows, columns: width), layer(item), GivenGradient<Scalar>(gradient: dy),
    ])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: 2)
    try model.build(inputShape: sample)
    if item.affine {
      try model.setParameter("bn.gamma", to: tensor(1, [features]) { 1 + $0 / 8 })
      try model.setParameter("bn.beta", to: tensor(2, [features]) { $0 / 4 })
    }
    if item.renorm == nil {
      try model.setParameter("bn.moving_mean", to: tensor(3, [features]) { $0 / 2 })
      try model.setParameter("bn.moving_variance", to: tensor(4, [features]) { 1 + abs($0) })
    }
    if item.mode == "given" { try model.configureNormalization("bn") { $0.trainingStatistics = .running } }
    if item.mode == "given" { try model.configureNormalization("bn") { $0.updatesStatistics = false } }

    let what = "\(item.convention) \(item.shape) \(item.mode), \(Scalar.self)"
    // Sums of n terms, each good to a few roundings of values up to about 8.
    let roundings = 4 * Double(item.shape.reduce(1, *) / features) + 64
    func expect(_ values: [Scalar], _ golden: GoldenVectors.Array, _ name: String, scale: Double = 0) {
      let count = golden.values.count
      let chosen = count == values.count ? values : (0..<count).map { values[$0 * (values.count - 1) / (count - 1)] }
      GoldenComparison.expect(chosen, golden, roundings: roundings, scale: scale, "\(name) of \(what)")
    }
    let plan = try model.plan(samples: item.shape[0])
    for step in 0..<20 {
      let x = tensor(10 + step, item.shape) { $0 + 0.5 }
      var samples = try Samples(x, targets: .zeros(item.shape))
      if item.mode == "masked" {
        let numbers = GoldenVectors.hashed(seed: item.seed + 6, count: item.shape[0])
        samples = try samples.weightingStatistics(by: numbers.map { $0 > -1 ? 1 : 0 })
      }
      try model.computeGradients(samples)
      guard step == 0 else { continue }
      expect(try model.parameter("bn.moving_mean").scalars, item.meanAfterOne, "first mean")
      expect(try model.parameter("bn.moving_variance").scalars, item.varianceAfterOne, "first variance")
    }
    expect(try model.parameter("bn.moving_mean").scalars, item.mean, "mean", scale: 1)
    expect(try model.parameter("bn.moving_variance").scalars, item.variance, "variance")
    let view = plan.output(samples: item.shape[0])
    expect((0..<rows * width).map { view[$0 / width, $0 % width] }, item.y, "y")
    // dx is a difference of terms of the size of γ·dy/√(σ² + ε), which few rows make cancel.
    let variance = max(item.variance.values.min() ?? 1, 0.05)
    let largest = 2 * (dy.map(abs).max() ?? 0) / variance.squareRoot()
    expect(try model.gradient("offset.values").scalars, item.dx, "dx", scale: largest)
    if let dgamma = item.dgamma { expect(try model.gradient("bn.gamma").scalars, dgamma, "dgamma", scale: largest) }
    if let dbeta = item.dbeta { expect(try model.gradient("bn.beta").scalars, dbeta, "dbeta") }
    expect(try model.predict(tensor(40, item.shape) { $0 }).scalars, item.inference, "inference")
  }
}
