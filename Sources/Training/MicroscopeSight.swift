import NeuralNetworks

/// The microscope's view of one model: plans that read the inputs and outputs of its normalizations.
final class MicroscopeSight<Scalar: NetworkScalar> {
  private let model: Sequential<Scalar>
  private let microscope: Microscope
  private let sites: [NormalizationSite]
  private let readers: [(inputs: LayerReader<Scalar>, outputs: LayerReader<Scalar>)]

  /// A view for batches of up to `capacity` samples.
  ///
  /// - Throws: `ModelError.argument` where the microscope never looks; what making plans throws.
  init(_ microscope: Microscope, model: Sequential<Scalar>, capacity: Int) throws {
    guard microscope.every >= 1 else {
      throw ModelError.argument(name: "every", problem: "must be at least 1, not \(microscope.every)")
    }
    self.model = model
    self.microscope = microscope
    sites = model.normalizationSites
    readers = try sites.map {
      (
        try LayerReader(model, layer: $0.layer - 1, capacity: capacity),
        try LayerReader(model, layer: $0.layer, capacity: capacity)
      )
    }
  }

  /// Reports on the step that is about to be made, where it is one to look at; changes nothing.
  func look(
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int,
    epoch: Int
  ) throws {
    guard model.stepCount % microscope.every == 0 else { return }
    try microscope.body(report(plan, source, indices, samples, epoch: epoch))
  }

  private func report(
    _ plan: ExecutionPlan<Scalar>, _ source: BatchSource<Scalar>, _ indices: UnsafePointer<Int32>, _ samples: Int,
    epoch: Int
  ) throws -> MicroscopeReport {
    let state = try model.runningState()
    defer { model.restore(state) }
    let step = model.stepCount + 1
    let sums = plan.computeGradients(source, indices: indices, samples: samples, step: step)
    model.restore(state)
    var gradients: [String: [Double]] = [:]
    var norms: [GradientNorm] = []
    for parameter in model.parameters where parameter.isTrainable {
      let gradient = try model.gradient(parameter.name).scalars.map { Double($0) }
      gradients[parameter.name] = gradient
      norms.append(
        GradientNorm(name: parameter.name, norm: gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()))
    }
    var layers: [NormalizationReport] = []
    for (site, reader) in zip(sites, readers) {
      let inputs = reader.inputs.read(source, indices, samples, mode: .training, step: step).scalars
      model.restore(state)
      let outputs = reader.outputs.read(source, indices, samples, mode: .training, step: step).scalars
      model.restore(state)
      layers.append(
        NormalizationReport(
          name: site.name, features: try features(of: site, samples, inputs, outputs, gradients)))
    }
    return MicroscopeReport(
      step: model.stepCount, epoch: epoch, batch: model.average([sums], samples: samples), gradientNorms: norms,
      layers: layers)
  }

  private func features(
    of site: NormalizationSite, _ samples: Int, _ inputs: [Scalar], _ outputs: [Scalar], _ gradients: [String: [Double]]
  ) throws -> [FeatureReport] {
    func values(_ name: String) -> [Double]? {
      (try? model.parameter("\(site.name).\(name)"))?.scalars.map { Double($0) }
    }
    let (gamma, beta) = (values("gamma"), values("beta"))
    let (mean, variance) = (values("moving_mean"), values("moving_variance"))
    let (gammaGradient, betaGradient) = (gradients["\(site.name).gamma"], gradients["\(site.name).beta"])
    return (0..<site.features).map { feature in
      let x = site.column(feature, of: inputs, samples: samples)
      let batch = Moments(of: x)
      let running = mean.flatMap { mean in variance.map { (mean[feature], $0[feature]) } }
      return FeatureReport(
        batchMean: batch.mean, batchVariance: batch.variance, runningMean: running?.0, runningVariance: running?.1,
        meanDrift: running.map { (batch.mean - $0.0) / ($0.1 + site.epsilon).squareRoot() },
        varianceRatio: running.map { (batch.variance + site.epsilon) / ($0.1 + site.epsilon) },
        inputs: Percentiles(of: x), outputs: Percentiles(of: site.column(feature, of: outputs, samples: samples)),
        gamma: gamma?[feature], beta: beta?[feature], gammaGradient: gammaGradient?[feature],
        betaGradient: betaGradient?[feature],
        isDead: batch.variance <= 1e-8 * (batch.mean * batch.mean + site.epsilon))
    }
  }
}

/// Mean and biased variance, by two passes in Double.
private struct Moments {
  let mean: Double
  let variance: Double

  init(of values: [Double]) {
    let count = Double(max(values.count, 1))
    let mean = values.reduce(0, +) / count
    self.mean = mean
    variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
  }
}

extension NormalizationSite {
  /// The numbers of one feature in a batch whose samples are (outer, features, inner).
  fileprivate func column<Scalar: NetworkScalar>(_ feature: Int, of batch: [Scalar], samples: Int) -> [Double] {
    var result: [Double] = []
    result.reserveCapacity(samples * valuesPerSample)
    for block in 0..<samples * outer {
      let start = (block * features + feature) * inner
      for position in start..<start + inner { result.append(Double(batch[position])) }
    }
    return result
  }
}
