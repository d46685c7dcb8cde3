import Foundation
import LinearAlgebra
import NeuralNetworks
import Testing
import Training

/// What a layer of a model makes can be read, and reading changes nothing.
@Suite struct ActivationsTests {
  @Test(arguments: [Mode.inference, .training])
  func lastLayerIsTheModelsOutput(mode: Mode) throws {
    let model = try Fixtures.compiled(as: Double.self)
    let data: Samples<Double> = try Fixtures.clusters(count: 33)
    try model.fit(data, batchSize: 8, verbose: .silent)
    let digest = try model.weightsSHA256()
    let outputs = try model.activations(of: "dense_2", on: data, mode: mode)
    // `predict` folds the normalizations away, which rounds otherwise.
    let predicted = try model.predict(data)
    let difference = zip(predicted.scalars, outputs.scalars).map { abs($0 - $1) }.max() ?? .infinity
    #expect((difference < 1e-12) == (mode == .inference), "\(difference)")
    #expect(try model.weightsSHA256() == digest)
  }

  @Test func everyLayerIsAFunctionOfTheOneBefore() throws {
    let model = Sequential<Double>(layers: [
      Flatten(), BatchNormalization(), Dense(70, name: "product"), BatchNormalization(name: "bn"), Activation.sigmoid,
      Dense(3, activation: .softmax),
    ])
    try model.compile(loss: .sparseCategoricalCrossEntropy(), threads: 2)
    let data: Samples<Double> = try Fixtures.clusters(count: 40)
    try model.fit(data, epochs: 3, batchSize: 10, verbose: .silent)
    let (inputs, _) = Fixtures.points(count: 40, as: Double.self)
    #expect(try model.activations(of: "flatten", on: data) == inputs)
    for mode in [Mode.inference, .training] {
      let product = try model.activations(of: "product", on: data, mode: mode)
      let normalized = try model.activations(of: "bn", on: data, mode: mode)
      let sigmoid = try model.activations(of: "sigmoid", on: data, mode: mode)
      #expect(product.shape == [40, 70])
      let gamma = try model.parameter("bn.gamma").scalars
      let beta = try model.parameter("bn.beta").scalars
      var mean = try model.parameter("bn.moving_mean").scalars
      var variance = try model.parameter("bn.moving_variance").scalars
      for column in 0..<70 {
        let values = (0..<40).map { product.scalars[$0 * 70 + column] }
        if mode == .training {
          mean[column] = values.reduce(0, +) / 40
          variance[column] = values.reduce(0) { $0 + ($1 - mean[column]) * ($1 - mean[column]) } / 40
        }
        for row in 0..<40 {
          let expected =
            gamma[column] * (values[row] - mean[column]) / (variance[column] + 1e-3).squareRoot() + beta[column]
          let output = normalized.scalars[row * 70 + column]
          #expect(abs(output - expected) < 1e-10)
          #expect(abs(sigmoid.scalars[row * 70 + column] * (1 + exp(-output)) - 1) < 1e-10)
        }
      }
    }
  }

  @Test func unknownLayerIsNamed() throws {
    let model = try Fixtures.compiled(as: Float.self)
    let data: Samples<Float> = try Fixtures.clusters(count: 9)
    #expect(throws: ModelError.notBuilt) { try model.activations(of: "dense", on: data) }
    try model.build(inputShape: [8])
    #expect {
      try model.activations(of: "nowhere", on: data)
    } throws: {
      "\($0)".contains("nowhere") && "\($0)".contains("dense_1")
    }
  }
}
