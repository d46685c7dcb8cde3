import Kernels
import LinearAlgebra

extension Sequential {
  /// A predictor with the weights that the model has now.
  ///
  /// Batch normalization that follows a `Dense` is folded into it, W′ = W·γ/√(σ² + ε), b′ = (b − μ)·γ/√(σ² + ε) + β, and
  /// one that follows an activation into the `Dense` after it; both in Double. What has no `Dense` beside it stays one
  /// pass over the features. Costs about a pass over the weights and a few hundred µs for the network of MNIST.
  ///
  /// - Parameters:
  ///   - maximumBatch: samples that a layer of your own sees at once, at most; 64 by default. Other layers take any number.
  ///   - threads: threads that share a large batch or, where that saves time, the wide layers of a small one; nil: as many
  ///     as processors, at most 8. Between calls that follow each other within 50 µs they wait awake; 1: there are none.
  ///   - folding: whether batch normalization is folded; `.required` by default.
  ///   - tolerance: largest difference from the model's outputs, relative to the largest of them, that folding may make
  ///     on the probe; nil: 32 units in the last place for the root of each product's depth, summed (1.8e-4 for
  ///     784-128-64-10 in Float).
  ///   - probe: samples of shape (n, …) to compare on, beside eight drawn ones (uniform around 0, and in 0 ..< 1).
  /// - Throws: `FoldingError` where folding is required and not accurate; `ModelError` where the model is not built, a
  ///   weight or statistic is not finite, or an argument does not fit.
  public func predictor(
    maximumBatch: Int = 64, threads: Int? = nil, folding: FoldingPolicy = .required, tolerance: Double? = nil,
    probe: Tensor<Scalar>? = nil
  ) throws -> Predictor<Scalar> {
    if let threads, threads < 1 {
      throw ModelError.argument(name: "threads", problem: "must be at least 1, not \(threads)")
    }
    return try makePredictor(
      maximumBatch: maximumBatch, threads: try threads ?? ThreadRequest(nil).mostMembers, team: nil, folding: folding,
      tolerance: tolerance, probe: probe)
  }

  func makePredictor(
    maximumBatch: Int, threads: Int, team: WorkerTeam?, folding: FoldingPolicy, tolerance: Double? = nil,
    probe: Tensor<Scalar>? = nil
  ) throws -> Predictor<Scalar> {
    guard let network, let store else { throw ModelError.notBuilt }
    guard maximumBatch >= 1 else {
      throw ModelError.argument(name: "maximumBatch", problem: "must be at least 1, not \(maximumBatch)")
    }
    let graph = try InferenceGraph(network: network, store: store)
    var refusal: String?
    if folding != .never {
      do {
        try ParameterReader(store: store, kernels: graph.table).requireFinite()
        let folded = try FoldedGraph(graph, tolerance: tolerance, probe: probe, maximumBatch: maximumBatch)
        return try Predictor(
          program: folded.program, graph: graph, threads: threads, team: team, report: folded.report, refusal: nil)
      } catch {
        guard folding == .whereAccurate else { throw error }
        refusal = "\(error)"
      }
    }
    return try Predictor(
      program: InferenceProgram(graph, maximumBatch: maximumBatch), graph: graph, threads: threads, team: team,
      report: nil, refusal: refusal)
  }
}
