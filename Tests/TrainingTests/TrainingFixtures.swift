import Foundation
import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Training

/// Models and data that several tests train with.
enum Fixtures {
  /// Three classes of points around three centres of a space of eight dimensions.
  static func clusters<Scalar: NetworkScalar>(
    count: Int, seed: UInt64 = 1, as _: Scalar.Type = Scalar.self
  ) throws -> Samples<Scalar> {
    let (inputs, labels) = points(count: count, seed: seed, as: Scalar.self)
    return try Samples(inputs, labels: labels)
  }

  /// The same as a tensor and labels.
  static func points<Scalar: NetworkScalar>(
    count: Int, seed: UInt64 = 1, as _: Scalar.Type = Scalar.self
  ) -> (inputs: Tensor<Scalar>, labels: [Int]) {
    var generator = Philox(seed: seed, purpose: "clusters")
    let labels = (0..<count).map { _ in generator.nextInteger(below: 3) }
    let inputs = Tensor<Scalar>(shape: [count, 8]) { index in
      let centre = index % 8 % 3 == labels[index / 8] ? 1.0 : 0.0
      return Scalar(Float(centre + 0.5 * generator.nextNormal()))
    }
    return (inputs, labels)
  }

  /// A network with several tiles, normalization in both places, and dropout.
  static func network<Scalar: NetworkScalar>(seed: UInt64 = 0, as _: Scalar.Type = Scalar.self) -> Sequential<Scalar> {
    Sequential<Scalar>(
      seed: seed,
      layers: [
        Dense(100, activation: .relu), BatchNormalization(), Dropout(0.2), Dense(65, useBias: false),
        BatchNormalization(), Activation.relu, Dense(3, activation: .softmax),
      ])
  }

  /// The network compiled for the clusters' labels.
  static func compiled<Scalar: NetworkScalar>(
    seed: UInt64 = 0, optimizer: any Optimizer = Adam(), threads: Int = 2, as _: Scalar.Type = Scalar.self
  ) throws -> Sequential<Scalar> {
    let model = network(seed: seed, as: Scalar.self)
    try model.compile(optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(), threads: threads)
    return model
  }

  /// Calls `body` with a folder of its own, which is deleted afterwards.
  static func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }
}
