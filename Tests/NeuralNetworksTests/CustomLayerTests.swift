import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// A user's own layers; their gradients are among the finite differences.
@Suite("Custom layers")
struct CustomLayerTests {
  @Test("A user's layer trains among Lamina's, in Float and Double")
  func trains() throws {
    try train(Float.self)
    try train(Double.self)
  }

  private func train<Scalar: NetworkScalar>(_: Scalar.Type) throws {
    // Which of two rings a point lies on: a square makes it linear.
    let model = Sequential<Scalar>(layers: [
      Dense(8), ScaledSquare<Scalar>(), BatchNormalization(momentum: .weightOfOld(0.9)), Dense(2),
    ])
    try model.compile(
      optimizer: Adam(learningRate: 0.05), loss: .sparseCategoricalCrossEntropy(fromLogits: true), threads: 2)
    var generator = Philox(seed: 1, purpose: "rings")
    var points: [Scalar] = []
    var labels: [Int] = []
    for index in 0..<200 {
      let (x, y) = (generator.nextNormal(), generator.nextNormal())
      let radius = Double(1 + index % 2) / (x * x + y * y).squareRoot()
      points += [Scalar(x * radius), Scalar(y * radius)]
      labels.append(index % 2)
    }
    let samples = try Samples(Tensor<Scalar>(shape: [200, 2], scalars: points), labels: labels)
    let history = try model.fit(samples, epochs: 20, verbose: .silent)
    #expect(try model.evaluate(samples).accuracy! > 0.98)
    #expect(history.loss[19] < 0.3 * history.loss[0])
    #expect(model.parameters.map(\.name).contains("scaledsquare.scale"))
    #expect(try model.parameter("scaledsquare.seen").scalars == [200 * 20])
  }

  @Test("A layer of another precision is refused with its name")
  func wrongPrecision() throws {
    let model = Sequential { ScaledSquare<Double>(name: "mine") }
    try model.build(inputShape: [3])
    let expected = ModelError.layer(
      name: "mine", problem: "it is not written for the model's precision, float32")
    #expect(throws: expected) { try model.predict(Tensor<Float>.zeros([2, 3])) }
    try model.compile(loss: .meanSquaredError)
    let samples = try Samples(Tensor<Float>.zeros([2, 3]), targets: .zeros([2, 3]))
    #expect(throws: expected) { try model.fit(samples, verbose: .silent) }
  }

  @Test("Errors of the layer's own reach the caller; impossible shapes are refused")
  func errors() {
    #expect(throws: Picky.Refusal.odd) { try Sequential { Picky(output: [1]) }.build(inputShape: [3]) }
    #expect(throws: ModelError.self) { try Sequential { Picky(output: []) }.build(inputShape: [4]) }
    #expect(throws: ModelError.self) { try Sequential { Picky(output: [0]) }.build(inputShape: [4]) }
    #expect(throws: ModelError.self) { try Sequential { Picky(output: [2], parameter: [0]) }.build(inputShape: [4]) }
    #expect(throws: Never.self) { try Sequential { Picky(output: [2], parameter: [2]) }.build(inputShape: [4]) }
  }

  /// A layer that refuses odd inputs, and claims what it is told to.
  struct Picky: CustomLayer {
    enum Refusal: Error, Equatable { case odd }
    var output: [Int]
    var parameter: [Int]?

    func outputShape(inputShape: [Int]) throws -> [Int] {
      if inputShape[0] % 2 == 1 { throw Refusal.odd }
      return output
    }

    func parameters(inputShape: [Int]) throws -> [ParameterSpecification] {
      parameter.map { [ParameterSpecification(name: "p", shape: $0, initializer: .zeros)] } ?? []
    }

    func forward(
      _ input: MatrixView<Float>, parameters: [MatrixView<Float>], output: MatrixView<Float>, mode: Mode
    ) {}

    func backward(
      input: MatrixView<Float>, output: MatrixView<Float>, outputGradient: MatrixView<Float>,
      parameters: [MatrixView<Float>], inputGradient: MatrixView<Float>, parameterGradients: [MatrixView<Float>]
    ) {}
  }
}
