import LinearAlgebra
import NeuralNetworks
import RandomNumbers

/// Models whose parameters, running statistics included, are all drawn, and what their plan makes in inference mode.
enum InferenceFixtures {
  /// A built model with drawn parameters.
  static func model<Scalar: NetworkScalar>(
    _ layers: [any Layer], inputShape: [Int], seed: UInt64 = 1
  ) throws -> Sequential<Scalar> {
    let model = Sequential<Scalar>(seed: seed, layers: layers)
    try model.build(inputShape: inputShape)
    var generator = Philox(seed: seed, purpose: "inference", index: 0)
    for parameter in model.parameters {
      let fanIn = parameter.shape.count > 1 ? parameter.shape[0] : 1
      let values = (0..<parameter.count).map { _ -> Double in
        let normal = generator.nextNormal()
        return switch parameter.name.split(separator: ".").last {
        case "kernel": normal / Double(fanIn).squareRoot()
        case "gamma": 1 + 0.3 * normal
        case "moving_variance": 0.2 + normal * normal
        default: 0.5 * normal
        }
      }
      try model.setParameter(parameter.name, to: Tensor(shape: parameter.shape) { Scalar(values[$0]) })
    }
    return model
  }

  /// Drawn samples.
  static func inputs<Scalar: NetworkScalar>(
    _ count: Int, _ shape: [Int], seed: UInt64 = 2
  ) -> Tensor<Scalar> {
    var generator = Philox(seed: seed, purpose: "inference inputs", index: 0)
    return Tensor(shape: [count] + shape) { _ in Scalar(generator.nextNormal()) }
  }

  /// What the compiled step makes of `inputs` in inference mode, without folding.
  static func planOutputs<Scalar: NetworkScalar>(
    _ model: Sequential<Scalar>, _ inputs: Tensor<Scalar>
  ) throws -> [Scalar] {
    let samples = inputs.shape[0]
    let plan = try model.plan(samples: samples)
    let indices = (0..<samples).map { Int32($0) }
    return inputs.withUnsafeBufferPointer { inputs in
      plan.infer(
        BatchSource(inputs: .scalars(inputs.baseAddress!), targets: .none), indices: indices, samples: samples)
      let view = plan.output(samples: samples)
      return (0..<view.rows).flatMap { row in (0..<view.columns).map { view[row, $0] } }
    }
  }

  /// Largest difference, relative to the largest element expected.
  static func difference<Scalar: NetworkScalar>(_ got: [Scalar], _ expected: [Scalar]) -> Double {
    guard got.count == expected.count else { return .infinity }
    let scale = expected.reduce(0) { max($0, abs(Double($1))) }
    return zip(got, expected).reduce(0) { worst, pair in
      let difference = abs(Double(pair.0) - Double(pair.1)) / max(scale, 1e-30)
      return difference.isNaN ? .infinity : max(worst, difference)
    }
  }
}
