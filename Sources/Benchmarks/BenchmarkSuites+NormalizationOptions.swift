import Kernels
import Lamina
import LinearAlgebra
import NeuralNetworks

extension BenchmarkSuites {
  /// The price of each option of normalization, over that of plain batch normalization of as many elements.
  ///
  /// Lamina's rows are the layer's passes as a step runs them, without ReLU unless said; plain and option in turn. A row
  /// says so where the team does not share the work; it is then compared to one thread's plain passes.
  func normalizationOptions() throws {
    for option in NormalizationOption.allCases {
      try ScratchMemory.scope {
        let exact = NormalizationOptionCase<Double>(option)
        exact.runNaive()
        let team = option.isShared ? threads ?? 1 : 1
        let data = NormalizationOptionCase<Float>(option)
        var rows: [BenchmarkRow] = []
        func row(_ variant: String, _ price: String, threads: Int, _ timing: Timing, error: Double) {
          let shape = option == .channelsFirst ? "" : "(128, 512) "
          // As for the fused kernels; naive sums in sequence add up to half a unit for each of up to 2048 values.
          var row = BenchmarkRow(
            suite: "batchnorm", name: "\(shape)\(option.rawValue)\(price), forward + backward", variant: variant,
            threads: threads, timing: timing, maxError: error,
            bound: Double(256 + (variant == "naive" ? 2 * 2048 : 0)) * Double(Float.ulpOfOne))
          row.gbPerSecond = Double(option.matricesMoved * data.x.count * 4) / timing.median * 1e-3
          rows.append(row)
        }
        let (error, timing, plain) = try laminaTiming(option, exact, team)
        let price = option == .plain ? "" : String(format: " %.2f× plain", timing.median / plain.median)
        if wants(.naive) {
          data.runNaive()
          let error = data.error(from: exact)
          row("naive", price, threads: 1, Timing(seconds: seconds / 2) { data.runNaive() }, error: error)
        }
        row("lamina", price, threads: team, timing, error: error)
        try report(variants: rows)
      }
    }
  }

  private func laminaTiming(
    _ option: NormalizationOption, _ exact: NormalizationOptionCase<Double>, _ team: Int
  ) throws -> (error: Double, timing: Timing, plain: Timing) {
    let data = NormalizationOptionCase<Float>(option)
    let plain = try NormalizationPasses(NormalizationOptionCase<Float>(.plain), threads: team)
    // What is timed goes on from gradients and statistics that its runs before left: the first run is what is compared.
    if option == .residual {
      let kernels = try Float.kernels().batchNormalization
      let stride = BitMatrixView.bytes(columns: option.features)
      let mask = BitMatrixView(base: ScratchMemory.allocate(option.samples * stride), stride: stride)
      let work = ScratchMatrix<Double>(6, option.features)
      data.runResidual(kernels, mask, work)
      let error = data.error(from: exact)
      let (timing, base) = Timing.alternating(
        seconds: seconds / 2, { data.runResidual(kernels, mask, work) }, { plain.run() })
      return (error, timing, base)
    }
    let passes = try NormalizationPasses(data, threads: team)
    passes.run()
    try passes.collect()
    let error = data.error(from: exact)
    let (timing, base) = Timing.alternating(seconds: seconds / 2, { passes.run() }, { plain.run() })
    return (error, timing, base)
  }
}

/// The passes of a model of one normalization.
private final class NormalizationPasses {
  private let data: NormalizationOptionCase<Float>
  private let model: Sequential<Float>
  private let plan: ExecutionPlan<Float>
  private var step = 0

  init(_ data: NormalizationOptionCase<Float>, threads: Int) throws {
    self.data = data
    let option = data.option
    model = Sequential(layers: [option.layer ?? BatchNormalization(name: "n")])
    try model.compile(optimizer: SGD(), loss: .meanSquaredError, threads: threads)
    try model.build(inputShape: Array(option.shape.dropFirst()))
    if option.isAffine {
      try model.setParameter("n.gamma", to: Tensor(shape: [option.features]) { data.gamma.pointer[$0] })
      try model.setParameter("n.beta", to: Tensor(shape: [option.features]) { data.beta.pointer[$0] })
    }
    if option == .givenStatistics {
      try model.configureNormalization("n") {
        $0.trainingStatistics = .running
        $0.updatesStatistics = false
      }
    }
    plan = try model.plan(samples: option.samples)
    let (inputs, gradient) = (plan.batchInputs(samples: option.samples), plan.outputGradient(samples: option.samples))
    for i in 0..<data.x.count {
      inputs.base[i / inputs.columns * inputs.stride + i % inputs.columns] = data.x.pointer[i]
      gradient.base[i / gradient.columns * gradient.stride + i % gradient.columns] = data.dy.pointer[i]
    }
    if option == .sampleWeights { plan.weighStatistics(by: UnsafeBufferPointer(data.weights.elements)) }
  }

  func run() {
    step += 1
    plan.passLayers(samples: data.option.samples, step: step)
  }

  /// Copies what the last run left.
  func collect() throws {
    let samples = data.option.samples
    let (y, dx) = (plan.output(samples: samples), plan.outputGradient(samples: samples))
    for i in 0..<data.x.count {
      data.y.pointer[i] = y.base[i / y.columns * y.stride + i % y.columns]
      data.dx.pointer[i] = dx.base[i / dx.columns * dx.stride + i % dx.columns]
    }
    guard data.option.isAffine else { return }
    let vectors = [
      (data.dGamma, try model.gradient("n.gamma")), (data.dBeta, try model.gradient("n.beta")),
      (data.gamma, try model.parameter("n.gamma")), (data.beta, try model.parameter("n.beta")),
    ]
    for (vector, tensor) in vectors { for i in 0..<vector.count { vector.pointer[i] = tensor.scalars[i] } }
  }
}
