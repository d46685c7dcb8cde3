import LinearAlgebra
import NeuralNetworks
import RandomNumbers
import Testing
import Training

/// A training step uses its gradients up block by block: it must move the weights by what `computeGradients` says.
@Suite("Updates")
struct UpdateTests {
  static let layers: [any Layer] = [
    Dense(130, activation: .relu), BatchNormalization(), Dropout(0.3), Dense(47), BatchNormalization(center: false),
    Activation.tanh, Dense(70, useBias: false), ScaledSquare<Double>(name: "square"), Dense(3),
  ]
  static let loss = Loss.sparseCategoricalCrossEntropy(fromLogits: true)

  @Test("SGD: w − learningRate·gradient, whatever the inputs of a kernel", arguments: [1, 7, 127, 128, 129, 300, 1000])
  func sgd(inputs: Int) throws {
    for rows in [2, 33] {
      let (model, samples) = try makeModel(inputs: inputs, rows: rows)
      try model.compile(optimizer: SGD(learningRate: 0.25), loss: Self.loss, threads: 2)
      let expected = try model.computeGradients(samples)
      let trainable = model.parameters.filter(\.isTrainable)
      let before = try trainable.map { (try model.parameter($0.name), try model.gradient($0.name)) }
      let measured = try model.trainOnBatch(samples)
      #expect(measured == expected)
      for (parameter, (weights, gradient)) in zip(trainable, before) {
        let after = try model.parameter(parameter.name)
        let largest = gradient.scalars.map(abs).max() ?? 0
        var wrong: [Int] = []
        for index in 0..<weights.count {
          let goal = weights[flat: index] - 0.25 * gradient[flat: index]
          // The gradient may be summed over its rows in another order: `rows` roundings. The step itself makes two.
          let bound = 2 * max(abs(goal), abs(weights[flat: index])).ulp + Double(rows) * largest.ulp
          if abs(after[flat: index] - goal) > bound { wrong.append(index) }
        }
        #expect(wrong.isEmpty, "\(parameter.name)")
      }
    }
  }

  @Test("Moving statistics and a user's running state move with every step, not with predictions")
  func runningState() throws {
    let (model, samples) = try makeModel(inputs: 9, rows: 5)
    let names = model.parameters.filter { !$0.isTrainable }.map(\.name)
    #expect(names.count == 5)
    var last = try names.map { try model.parameter($0) }
    for _ in 0..<3 {
      try model.trainOnBatch(samples)
      let now = try names.map { try model.parameter($0) }
      for index in names.indices { #expect(now[index] != last[index], "\(names[index])") }
      last = now
    }
    #expect(try model.parameter("square.seen").scalars == [15])
    _ = try model.predict(samples)
    _ = try model.evaluate(samples)
    #expect(try names.map { try model.parameter($0) } == last)
  }

  @Test("A learning rate of 0 leaves the weights alone", arguments: [0, 1, 2, 3])
  func noStep(number: Int) throws {
    let optimizers: [any Optimizer] = [
      SGD(learningRate: 0), SGD(learningRate: 0, momentum: 0.9), Adam(learningRate: 0), RMSprop(learningRate: 0),
    ]
    let (model, samples) = try makeModel(inputs: 9, rows: 5)
    try model.compile(optimizer: optimizers[number], loss: Self.loss, threads: 2)
    let trainable = model.parameters.filter(\.isTrainable).map(\.name)
    let before = try trainable.map { try model.parameter($0) }
    for _ in 0..<2 { try model.trainOnBatch(samples) }
    #expect(try trainable.map { try model.parameter($0) } == before)
  }

  @Test("A changed learning rate takes effect at the next step and keeps the optimizer's state")
  func learningRate() throws {
    let (model, samples) = try makeModel(inputs: 9, rows: 5)
    let (other, _) = try makeModel(inputs: 9, rows: 5)
    for each in [model, other] {
      try each.compile(optimizer: Adam(learningRate: 0.01), loss: Self.loss, threads: 2)
      try each.trainOnBatch(samples)
    }
    try model.setLearningRate(0)
    #expect(model.optimizer?.learningRate == 0)
    let names = model.parameters.filter(\.isTrainable).map(\.name)
    let before = try names.map { try model.parameter($0) }
    try model.trainOnBatch(samples)
    #expect(try names.map { try model.parameter($0) } == before)
    try model.setLearningRate(0.01)
    try model.trainOnBatch(samples)
    // Adam's moments have seen the step that moved nothing: the third step is not what it would be from fresh ones.
    try other.compile(optimizer: Adam(learningRate: 0.01), loss: Self.loss, threads: 2)
    try other.trainOnBatch(samples)
    #expect(try names.map { try model.parameter($0) } != names.map { try other.parameter($0) })
  }

  private func makeModel(inputs: Int, rows: Int) throws -> (Sequential<Double>, Samples<Double>) {
    let model = Sequential<Double>(seed: 2, layers: Self.layers)
    try model.compile(optimizer: SGD(), loss: Self.loss, threads: 2)
    try model.build(inputShape: [inputs])
    var generator = Philox(seed: 4, purpose: "updates")
    return (model, try randomSamples(&generator, count: rows, model: model, loss: Self.loss))
  }
}
