import LinearAlgebra
import NeuralNetworks

extension Sequential {
  /// What `fit` does after a step that was undone: records it, or throws it.
  func undone(
    _ plan: ExecutionPlan<Scalar>, _ sums: LossSums, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>,
    _ samples: Int, in rows: Range<Int>, _ epoch: Int, _ batch: Int
  ) throws {
    let step = try nonFiniteStep(
      plan, sums, source, indices, samples, firstRow: rows.lowerBound, epoch: epoch, batch: batch)
    if configuration?.nonFinite == .throw { throw step }
    nonFiniteSteps.append(step)
  }

  /// Takes back the number of a step that was undone, and says where it went wrong.
  func nonFiniteStep(
    _ plan: ExecutionPlan<Scalar>, _ sums: LossSums, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>,
    _ samples: Int, firstRow: Int, epoch: Int, batch: Int
  ) throws -> NonFiniteStep {
    let place = try firstNonFinite(plan, sums, source, indices, samples)
    // Dropout masks and bias corrections go on as if the step had not been.
    stepCount -= 1
    return NonFiniteStep(
      epoch: epoch, batch: batch, rows: (0..<samples).map { Int(indices[$0]) - firstRow }, place: place,
      loss: sums.loss / Double(samples))
  }

  /// Goes through the step layer by layer until a number is not finite.
  private func firstNonFinite(
    _ plan: ExecutionPlan<Scalar>, _ sums: LossSums, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>,
    _ samples: Int
  ) throws -> NonFiniteStep.Place {
    guard plan.batchInputs(samples: samples).scalars.allSatisfy(\.isFinite) else { return .inputs }
    if case .values(let targets) = source.targets, let width = outputShape?.reduce(1, *) {
      for sample in 0..<samples {
        let row = UnsafeBufferPointer(start: targets + Int(indices[sample]) * width, count: width)
        guard row.allSatisfy(\.isFinite) else { return .targets }
      }
    }
    let state = try runningState()
    defer { restore(state) }
    for (index, name) in layerNames.enumerated() {
      for parameter in parameters where parameter.name.hasPrefix(name + ".") {
        guard try self.parameter(parameter.name).scalars.allSatisfy(\.isFinite) else {
          return .parameter(parameter.name)
        }
      }
      if let statistic = plan.nonFiniteStatistics.first(where: { $0.hasPrefix(name + ".") }) {
        return .statistic(statistic)
      }
      let reader = try LayerReader(self, layer: index, capacity: samples)
      let output = reader.read(source, indices, samples, mode: .training, step: stepCount).scalars
      restore(state)
      guard output.allSatisfy(\.isFinite) else { return .output(layer: name) }
    }
    guard sums.loss.isFinite else { return .loss }
    if let stage = plan.nonFiniteGradientStage { return .gradient(layer: layerName(ofStage: stage)) }
    return .update
  }
}
