import LinearAlgebra
import RandomNumbers
import Testing
import Training

@testable import NeuralNetworks

/// The columns that fill the rows of a tile of a kernel up to whole cache lines are 0 and stay 0.
@Suite("Padding of kernels")
struct KernelPaddingTests {
  /// Inputs of which few or many are 0, batches of few and many samples, of networks whose gradients of kernels are made in
  /// every way there is.
  @Test("Training leaves it alone", arguments: [0.0, 0.7], [10, 40, 200])
  func padding(zeros: Double, batchSize: Int) throws {
    func check<Scalar: NetworkScalar>(_: Scalar.Type) throws {
      var generator = Philox(seed: 5, purpose: "padding")
      let inputs = Tensor<Scalar>(shape: [2 * batchSize, 150]) { _ in
        generator.nextUniform() < zeros ? 0 : Scalar(Float(generator.nextNormal()))
      }
      let data = try Samples(inputs, labels: (0..<2 * batchSize).map { $0 % 3 })
      for optimizer: any Optimizer in [Adam(), SGD()] {
        let model = Sequential<Scalar>(
          layers: [
            Dense(270, activation: .relu), Dense(300, activation: .relu), BatchNormalization(),
            Dense(7, activation: .relu), Dense(3),
          ])
        try model.compile(
          optimizer: optimizer, loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
        _ = try model.fit(data, epochs: 2, batchSize: batchSize, verbose: .silent)
        let store = try #require(model.store)
        for slot in store.slots where slot.specification.shape.count == 2 {
          for piece in slot.pieces {
            let weights = store.weights.baseAddress + piece.offset
            let isZero = (0..<slot.rows).allSatisfy { row in
              (piece.columns.count..<piece.stride).allSatisfy { weights[row * piece.stride + $0] == 0 }
            }
            #expect(isZero, "\(slot.name), columns \(piece.columns), \(optimizer), \(Scalar.self)")
          }
        }
      }
    }
    try check(Float.self)
    try check(Double.self)
  }
}
