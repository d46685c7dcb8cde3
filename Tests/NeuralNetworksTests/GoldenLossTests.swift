import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// Each loss with its gradient against Keras and PyTorch, through a model that passes its inputs on.
@Suite("Golden losses")
struct GoldenLossTests {
  static let vectors = Result { try GoldenVectors.load("losses", as: GoldenVectors.Losses.self) }

  @Test("Values and gradients, in Double and Float", arguments: 0..<23)
  func losses(index: Int) throws {
    let vectors = try Self.vectors.get()
    try #require(vectors.cases.count == 23)
    let item = vectors.cases[index]
    // Weights by row and label smoothing are not a model's to set.
    if item.weights != nil || item.labelSmoothing != nil { return }
    try check(item, in: Double.self)
    try check(item, in: Float.self)
  }

  private func check<Scalar: NetworkScalar>(_ item: GoldenVectors.Losses.Case, in _: Scalar.Type) throws {
    let loss = try #require(Loss(golden: item.loss))
    let (rows, columns) = (item.prediction.shape[0], item.prediction.shape[1])
    let model = Sequential<Scalar>(layers: [Offset<Scalar>(rows: rows, columns: columns)])
    try model.compile(optimizer: SGD(), loss: loss, threads: 1)
    let prediction: Tensor<Scalar> = item.prediction.tensor()
    let samples: Samples<Scalar>
    if let labels = item.labels {
      samples = try Samples(prediction, labels: labels)
    } else {
      samples = try Samples(prediction, targets: #require(item.targets).tensor())
    }
    let what = "\(item.loss), value \(item.value), \(Scalar.self)"
    let value = try model.computeGradients(samples).loss
    // exp, log and a sum over the row: 8 + columns roundings of the largest term of a row, of which there are two: the
    // loss itself and, from logits, the magnitude that it is the difference of. 1/(1 − p) near p = 1 − 1e-7 magnifies the
    // rounding of p in Float (README: a Float's 1 − 1e-7 is 1.2e-7 below 1) to a fifth of it.
    let roundings = Double(16 + columns)
    let clipped = item.prediction.values.contains { $0 < 2e-7 || $0 > 1 - 2e-7 } && !loss.isFromLogits
    let clipping = clipped && Scalar.self == Float.self ? log(1.2) : 0
    let scale = max(item.rows.values.map(abs).max() ?? 0, item.prediction.values.map(abs).max() ?? 0)
    let bound = scale * (roundings * Double(Scalar.ulpOfOne) + 1e-12) + clipping
    #expect(abs(value - item.value) <= bound, "\(what): \(value)")
    #expect(abs(try model.evaluate(samples).loss - item.value) <= bound, "\(what), evaluated")
    GoldenComparison.expect(
      try model.gradient("offset.values").scalars, item.gradient, roundings: roundings, "gradient of \(what)")
  }
}

extension Loss {
  /// The loss that a golden file names.
  init?(golden name: String) {
    switch name {
    case "sparse_categorical_logits": self = .sparseCategoricalCrossEntropy(fromLogits: true)
    case "sparse_categorical_probabilities": self = .sparseCategoricalCrossEntropy()
    case "categorical_logits": self = .categoricalCrossEntropy(fromLogits: true)
    case "categorical_probabilities": self = .categoricalCrossEntropy()
    case "binary_logits": self = .binaryCrossEntropy(fromLogits: true)
    case "binary_probabilities": self = .binaryCrossEntropy()
    case "mean_squared_error": self = .meanSquaredError
    default: return nil
    }
  }
}
