import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// Finite differences against the gradients of a model, in Double.
///
/// The slope of the training loss L along a direction u of unit length is estimated by the five-point formula
/// (8(L(h) − L(−h)) − (L(2h) − L(−2h)))/12h. Its truncation error falls with h⁴, its rounding error is at most
/// (16 + 2)/12h·δ where δ bounds the error of one evaluation of L. The latter is taken as 64 ulp of max(L, 1): a loss is
/// a mean of terms each of which passes through a few dozen roundings of either sign (products, normalizations, exp and
/// log). h is taken from 2⁻¹⁰ downwards until the estimate agrees: then neither truncation nor a kink of a piecewise
/// function within ±2h is left, while a wrong gradient agrees at no h. The smallest h, 2⁻²², bounds what can be missed to
/// an absolute 1.5·64·2⁻⁵²·2²² ≈ 9e-8; gradients here are 1e-3 and more.
struct GradientCheck {
  /// The layers whose gradients are checked.
  var layers: [any Layer]
  /// Shape of one sample.
  var inputShape: [Int]
  /// Samples.
  var rows: Int
  /// What is differentiated.
  var loss: Loss
  /// What inputs, parameters and directions are drawn from.
  var seed: UInt64 = 1
  /// Weights of the samples in the moments of batch normalizations.
  var weights: [Double]?
  /// Done to every model before its gradients are looked at.
  var prepare: (Sequential<Double>) throws -> Void = { _ in }

  private static let steps = [0x1p-10, 0x1p-14, 0x1p-18, 0x1p-22]
  private static let roundings = 64.0

  /// Checks every parameter along random directions and some of its elements alone, with the layers as the first of a
  /// model (parameters only) and after an offset of the inputs (whose gradient is that of the inputs).
  func run(sourceLocation: SourceLocation = #_sourceLocation) throws {
    try run(layers, sourceLocation)
    let width = inputShape[inputShape.count - 1]
    let offset = Offset<Double>(rows: rows * inputShape.reduce(1, *) / width, columns: width, name: "inputs")
    try run([offset] + layers, sourceLocation)
  }

  private func run(_ layers: [any Layer], _ location: SourceLocation) throws {
    let (model, samples) = try makeModel(layers, threads: 1)
    let reference = try model.computeGradients(samples)
    let parameters = model.parameters.filter(\.isTrainable)
    let gradients = try parameters.map { try model.gradient($0.name) }
    var generator = Philox(seed: seed, purpose: "directions")
    for (parameter, gradient) in zip(parameters, gradients) {
      for direction in directions(count: parameter.count, &generator) {
        let slope = zip(gradient.scalars, direction).reduce(0) { $0 + $1.0 * $1.1 }
        let failure = try mismatch(model, samples, parameter.name, direction, slope: slope, loss: reference.loss)
        if let failure {
          Issue.record("\(parameter.name): \(failure) (loss \(loss), \(rows) rows)", sourceLocation: location)
        }
      }
    }
    for threads in [2, 3] {
      let (other, samples) = try makeModel(layers, threads: threads)
      let loss = try other.computeGradients(samples)
      #expect(loss == reference, "\(threads) threads", sourceLocation: location)
      for (parameter, gradient) in zip(parameters, gradients) {
        #expect(
          try other.gradient(parameter.name) == gradient, "\(parameter.name) with \(threads) threads",
          sourceLocation: location)
      }
    }
  }

  /// What is wrong with `slope`, or nil.
  private func mismatch(
    _ model: Sequential<Double>, _ samples: Samples<Double>, _ name: String, _ direction: [Double], slope: Double,
    loss: Double
  ) throws -> String? {
    let values = try model.parameter(name)
    defer { try? model.setParameter(name, to: values) }
    func value(_ step: Double) throws -> Double {
      try model.setParameter(name, to: Tensor(shape: values.shape) { values[flat: $0] + step * direction[$0] })
      return try model.computeGradients(samples).loss
    }
    var report = ""
    for h in Self.steps {
      let near = try value(h) - value(-h)
      let far = try value(2 * h) - value(-2 * h)
      let estimate = (8 * near - far) / (12 * h)
      let bound = 1.5 * Self.roundings * max(loss, 1).ulp / h
      if abs(estimate - slope) <= bound { return nil }
      report += " h \(h): \(estimate), bound \(bound);"
    }
    return "gradient \(slope), differences\(report)"
  }

  /// Two random directions of unit length, and single elements: the last and a random one.
  private func directions(count: Int, _ generator: inout Philox) -> [[Double]] {
    var result: [[Double]] = []
    for _ in 0..<2 {
      let raw = (0..<count).map { _ in generator.nextNormal() }
      let length = raw.reduce(0) { $0 + $1 * $1 }.squareRoot()
      result.append(raw.map { $0 / length })
    }
    let places = Set([count - 1, generator.nextInteger(below: count)])
    for place in places.sorted() { result.append((0..<count).map { $0 == place ? 1 : 0 }) }
    return result
  }

  /// A model with random parameters, and random samples for it.
  func makeModel(_ layers: [any Layer], threads: Int) throws -> (Sequential<Double>, Samples<Double>) {
    let model = Sequential<Double>(seed: seed, layers: layers)
    try model.compile(optimizer: SGD(), loss: loss, threads: threads)
    try model.build(inputShape: inputShape)
    var generator = Philox(seed: seed, purpose: "gradient check")
    try model.randomizeVectors(&generator)
    try prepare(model)
    let samples = try randomSamples(&generator, count: rows, model: model, loss: loss)
    return (model, try weights.map { try samples.weightingStatistics(by: $0) } ?? samples)
  }
}

/// Random inputs with random targets that fit `model` and `loss`.
func randomSamples<Scalar: NetworkScalar>(
  _ generator: inout Philox, count: Int, model: Sequential<Scalar>, loss: Loss
) throws -> Samples<Scalar> {
  let inputShape = try #require(model.inputShape)
  let outputShape = try #require(model.outputShape)
  let inputs = Tensor<Scalar>(shape: [count] + inputShape) { _ in Scalar(Float(generator.nextNormal())) }
  let classes = outputShape[outputShape.count - 1]
  let rows = count * outputShape.dropLast().reduce(1, *)
  var targets = (0..<rows * classes).map { _ in Double(Float(generator.nextUniform())) }
  switch loss {
  case .sparseCategoricalCrossEntropy:
    return try Samples(inputs, labels: (0..<rows).map { _ in generator.nextInteger(below: classes) })
  case .categoricalCrossEntropy:
    for row in 0..<rows {
      let sum = targets[row * classes..<(row + 1) * classes].reduce(0, +)
      for column in 0..<classes { targets[row * classes + column] /= sum }
    }
  case .meanSquaredError: targets = targets.map { 2 * $0 - 1 }
  case .binaryCrossEntropy: break
  }
  return try Samples(inputs, targets: Tensor(shape: [count] + outputShape) { Scalar(targets[$0]) })
}

extension Sequential {
  /// Sets vectors (biases, γ, β, offsets) to random values around the ones they have.
  func randomizeVectors(_ generator: inout Philox) throws {
    for parameter in parameters where parameter.isTrainable && !parameter.name.hasSuffix("kernel") {
      let values = try self.parameter(parameter.name)
      try setParameter(
        parameter.name,
        to: Tensor(shape: values.shape) { values[flat: $0] + Scalar(Float(0.3 * generator.nextNormal())) })
    }
  }
}

extension Tensor {
  /// Scalar number `index` in row-major order.
  subscript(flat index: Int) -> Scalar { withUnsafeBufferPointer { $0[index] } }
}
