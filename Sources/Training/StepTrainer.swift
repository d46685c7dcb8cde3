import NeuralNetworks
import RandomNumbers

/// Trains a model by a number of steps rather than epochs, and can go on where it stopped.
///
/// Each pass over the data has an order of its own, drawn as `fit` draws it; samples that do not fill a last batch are
/// left out of that pass.
package final class StepTrainer<Scalar: NetworkScalar> {
  private let model: Sequential<Scalar>
  private let data: Samples<Scalar>
  private let batchSize: Int
  private var order: [Int32] = []
  private var position = 0

  /// A trainer of a compiled model.
  ///
  /// - Throws: `ModelError` where the model is not compiled, data and model do not fit, or the data are fewer than a batch.
  package init(_ model: Sequential<Scalar>, data: Samples<Scalar>, batchSize: Int) throws {
    guard batchSize >= 1, batchSize <= data.count else {
      throw ModelError.argument(
        name: "batchSize", problem: "must be in 1 ... \(data.count), the number of samples, not \(batchSize)")
    }
    _ = try model.prepare(data, batchSize: batchSize)
    (self.model, self.data, self.batchSize) = (model, data, batchSize)
  }

  /// Makes `count` steps; the loss and accuracy are means over them, measured as the weights moved.
  ///
  /// - Throws: `ModelError` where the model is no longer compiled; `NonFiniteStep` where a step was undone.
  @discardableResult
  package func run(steps count: Int) throws -> Evaluation {
    let plan = try model.plan(samples: batchSize)
    guard let rule = model.configuration?.optimizer.updateRule else { throw ModelError.notCompiled }
    var sums = LossSums(loss: 0, correct: 0)
    try data.withSource { source in
      for _ in 0..<count {
        if position + batchSize > order.count { shuffle() }
        try order.withUnsafeBufferPointer { order in
          model.stepCount += 1
          let indices = order.baseAddress! + position
          let part = plan.train(source, indices: indices, samples: batchSize, rule: rule, step: model.stepCount)
          if plan.stepWasUndone {
            throw try model.nonFiniteStep(
              plan, part, source, indices, batchSize, firstRow: data.rows.lowerBound, epoch: model.epochCount - 1,
              batch: position / batchSize)
          }
          sums.loss += part.loss
          sums.correct += part.correct
        }
        position += batchSize
      }
    }
    return model.average([sums], samples: max(count, 1) * batchSize)
  }

  private func shuffle() {
    order = data.rows.map { Int32($0) }
    var generator = Philox(seed: model.seed, purpose: "shuffle", index: UInt64(model.epochCount))
    generator.shuffle(&order)
    model.epochCount += 1
    position = 0
  }
}
