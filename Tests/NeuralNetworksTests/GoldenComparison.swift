import LinearAlgebra
import NeuralNetworks
import Testing

/// Holds results against golden ones.
enum GoldenComparison {
  /// Expects `values` to agree with `golden` to `roundings` ulps (of `Scalar`) of the largest magnitude in `golden`, or
  /// of `scale` where that is larger; in Double also to the 1e-12 that the golden values themselves are good for.
  static func expect<Scalar: NetworkScalar>(
    _ values: [Scalar], _ golden: GoldenVectors.Array, roundings: Double, scale: Double = 0,
    agreement: Double = 1e-12, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(values.count == golden.values.count, "\(what)", sourceLocation: sourceLocation)
    let largest = max(golden.values.map(abs).max() ?? 0, scale)
    let bound = largest * (roundings * Double(Scalar.ulpOfOne) + agreement)
    for (index, (value, expected)) in zip(values, golden.values).enumerated()
    where !(abs(Double(value) - expected) <= bound) {
      let error = abs(Double(value) - expected)
      Issue.record(
        "\(what)[\(index)]: \(value), not \(expected): off by \(error), bound \(bound)",
        sourceLocation: sourceLocation)
    }
  }
}

extension GoldenVectors.Array {
  /// The values as a tensor.
  func tensor<Scalar: NetworkScalar>(_: Scalar.Type = Scalar.self) -> Tensor<Scalar> {
    Tensor(shape: shape) { Scalar(values[$0]) }
  }
}
