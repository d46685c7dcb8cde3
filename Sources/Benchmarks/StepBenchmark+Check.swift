import Kernels
import Lamina

/// What the check of a step found.
struct StepCheck {
  /// The largest error of each variant.
  var naive = 0.0, unfused = 0.0, lamina = 0.0
  /// The largest that roundings explain.
  var bound: Double
  /// What textbook loops take for one image.
  var naiveSecondsPerImage: Double
}

extension StepBenchmark {
  /// One step of each variant on one batch, against textbook loops in Double: loss, gradients and updated parameters.
  ///
  /// An error of a gradient is relative to the largest gradient of its parameter, or to a 2¹⁰th of the network's largest
  /// where that is more: two samples become ±1 whatever they are, and what is left of a gradient are roundings. An error
  /// of an updated weight is relative to the parameter's largest update and weighed with the weight's share in the
  /// largest gradient: an optimizer that divides by a gradient's size magnifies the relative errors of small ones.
  func check<Scalar: NetworkScalar>(
    _ model: Sequential<Scalar>, _ data: ImageDataset, _ suites: BenchmarkSuites
  ) throws -> StepCheck {
    // As many rows as the oracle does in a fraction of a second.
    let rows = min(batchSize, max(4, min(32, 200_000_000 / (6 * kernelWeights))))
    // The roundings on the way of a number through forward and backward pass: one for each term of each sum. Dividing
    // by the deviation of a feature magnifies them, by less than 8 for random images; the others do not.
    let roundings = 2 * widths.reduce(0, +) + 3 * rows * (widths.count - 1)
    let bound = 8 * Double(roundings) * Double(Scalar.ulpOfOne)
    // Inputs of an activation that this precision could put on the other side of its kink make another gradient, not a
    // wrong one: such a batch is passed over.
    let margin = 256 * Double(Scalar.ulpOfOne)
    return try ScratchMemory.scope {
      let oracle = try PlainNetwork<Double>(.textbook, recipe, classes: classes, rows: rows, from: model)
      var check = StepCheck(bound: bound, naiveSecondsPerImage: 0)
      var start = 0
      var exactLoss = 0.0
      repeat {
        oracle.gather(data, (start..<start + rows).map { Int32($0) }[...])
        exactLoss = oracle.computeGradients()
        start += rows
      } while oracle.leastActivationInput < margin && start + rows <= min(data.count, 100 * rows)

      let chosen = (start - rows..<start).map { Int32($0) }[...]
      let before = oracle.parameters.map { parameter in parameter.values.elements.map { $0 } }
      oracle.update(optimizer.updateRule)
      let least = oracle.parameters.reduce(0) { max($0, $1.gradient.largest) } * 0x1p-10
      let exact = zip(oracle.parameters, before).map { ExactParameter($0, before: $1, leastGradient: least) }
      func error(
        loss: Double, gradient: (Int) -> UnsafeBufferPointer<Scalar>, values: (Int) -> UnsafeBufferPointer<Scalar>
      ) -> Double {
        var worst = abs(loss - exactLoss) / exactLoss
        for (index, parameter) in exact.enumerated() {
          let error = parameter.error(gradient: gradient(index), values: values(index))
          worst = error.isNaN ? .infinity : max(worst, error)
        }
        return worst
      }
      func error(_ style: PlainNetwork<Scalar>.Style) throws -> (error: Double, seconds: Double) {
        // A scope of its own: the networks of wide layers are not kept together.
        try ScratchMemory.scope {
          let network = try PlainNetwork<Scalar>(style, recipe, classes: classes, rows: rows, from: model)
          var loss = 0.0
          let time = Timing.time {
            network.gather(data, chosen)
            loss = network.computeGradients()
            network.update(optimizer.updateRule)
          }
          let error = error(
            loss: loss, gradient: { UnsafeBufferPointer(network.parameters[$0].gradient.elements) },
            values: { UnsafeBufferPointer(network.parameters[$0].values.elements) })
          return (error, time * 1e-6)
        }
      }
      if suites.wants(.naive) {
        let (error, seconds) = try error(.textbook)
        check.naive = error
        check.naiveSecondsPerImage = seconds / Double(rows)
      }
      if suites.wants(.unfused) { check.unfused = try error(.unfused).error }

      let batch = try Samples<Scalar>(data.subset(start - rows..<start))
      _ = try model.computeGradients(batch)
      let names = oracle.parameters.map(\.name)
      let gradients = try names.map { ScratchMatrix<Scalar>(copying: try model.gradient($0).scalars) }
      let loss = try model.trainOnBatch(batch).loss
      let values = try names.map { ScratchMatrix<Scalar>(copying: try model.parameter($0).scalars) }
      check.lamina = error(
        loss: loss, gradient: { UnsafeBufferPointer(gradients[$0].elements) },
        values: { UnsafeBufferPointer(values[$0].elements) })
      return check
    }
  }
}

/// A parameter as the oracle has it before and after its update.
private struct ExactParameter {
  private let parameter: PlainNetwork<Double>.Parameter
  private let largestGradient: Double
  private let largestUpdate: Double
  private let largestValue: Double

  /// `leastGradient`: what a gradient is relative to at least.
  init(_ parameter: PlainNetwork<Double>.Parameter, before: [Double], leastGradient: Double) {
    self.parameter = parameter
    largestGradient = max(parameter.gradient.largest, leastGradient)
    largestValue = parameter.values.largest
    largestUpdate = zip(before, parameter.values.elements).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }

  /// The largest error of gradient and updated values.
  func error<Scalar: BinaryFloatingPoint>(
    gradient: UnsafeBufferPointer<Scalar>, values: UnsafeBufferPointer<Scalar>
  ) -> Double {
    guard largestGradient > 0, largestUpdate > 0 else { return 0 }
    var worst = 0.0
    let (exactGradient, exactValue) = (parameter.gradient.pointer, parameter.values.pointer)
    // Adding an update to a weight rounds the weight.
    let rounding = largestValue * Double(Scalar.ulpOfOne)
    for index in 0..<parameter.values.count {
      let slope = abs(Double(gradient[index]) - exactGradient[index]) / largestGradient
      let difference = max(0, abs(Double(values[index]) - exactValue[index]) - rounding)
      let update = difference / largestUpdate * abs(exactGradient[index]) / largestGradient
      worst = slope.isNaN || values[index].isNaN ? .infinity : max(worst, slope, update)
    }
    return worst
  }
}
