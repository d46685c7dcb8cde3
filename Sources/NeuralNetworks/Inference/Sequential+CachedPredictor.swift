import Foundation
import Kernels
import LinearAlgebra

/// The predictor behind `predict` and `evaluate`, with the weights that it was made of.
final class CachedPredictor<Scalar: NetworkScalar> {
  let predictor: Predictor<Scalar>
  let team: WorkerTeam?
  private let weights: AlignedBuffer<Scalar>
  private let state: AlignedBuffer<Scalar>

  init(_ predictor: Predictor<Scalar>, team: WorkerTeam?, store: ParameterStore<Scalar>) {
    self.predictor = predictor
    self.team = team
    weights = store.weights.copy()
    state = store.state.copy()
  }

  /// Whether the model still has the same weights, bit by bit: nothing that changes them needs to say so.
  func isMade(of store: ParameterStore<Scalar>) -> Bool {
    weights.hasBits(of: store.weights) && state.hasBits(of: store.state)
  }
}

extension AlignedBuffer {
  /// A buffer with the same contents.
  fileprivate func copy() -> AlignedBuffer {
    let result = AlignedBuffer(uninitializedCapacity: capacity)
    memcpy(result.baseAddress, baseAddress, capacity * MemoryLayout<Scalar>.stride)
    return result
  }

  fileprivate func hasBits(of other: AlignedBuffer) -> Bool {
    capacity == other.capacity
      && memcmp(baseAddress, other.baseAddress, capacity * MemoryLayout<Scalar>.stride) == 0
  }
}

extension Sequential {
  /// Why batch normalization was not folded away in the last `predict` or `evaluate`; nil where it was, or where there is
  /// none.
  ///
  /// The results are right all the same: what cannot be folded is computed as it stands.
  public var foldingRefusal: String? { cachedPredictor?.predictor.foldingRefusal }

  /// A predictor for the weights of this moment, kept until they change; nil where a layer needs to see the
  /// batches that the caller asked for.
  package func currentPredictor() throws -> Predictor<Scalar>? {
    guard let network, let store else { throw ModelError.notBuilt }
    if network.stages.contains(where: \.needsWholeBatch) { return nil }
    let threads = inferenceThreads
    if let cachedPredictor, cachedPredictor.predictor.threads == threads, cachedPredictor.isMade(of: store) {
      return cachedPredictor.predictor
    }
    // The members of a step's team wait meanwhile: they can as well do this.
    let known = [plans[threads]?.team, cachedPredictor?.team].compactMap { $0 }.first { $0.size == threads }
    let team = threads > 1 ? try known ?? WorkerTeam(size: threads) : nil
    let predictor = try makePredictor(maximumBatch: 1, threads: threads, team: team, folding: .whereAccurate)
    cachedPredictor = CachedPredictor(predictor, team: team, store: store)
    return predictor
  }

  /// Threads of `predict` and `evaluate`.
  private var inferenceThreads: Int { configuration?.threads.mostMembers ?? 1 }
}

extension StageLayout {
  /// Whether a layer of a user's, or statistics of the batch, make an output depend on more than its sample.
  fileprivate var needsWholeBatch: Bool {
    func usesBatch(_ normalization: NetworkBuilder.Normalization) -> Bool {
      (normalization.movingMean as Int?).map { _ in false } ?? true
    }
    switch core {
    case .custom: return true
    case .innerAxisNormalization(let normalization, _, _, _): if usesBatch(normalization) { return true }
    case .dense, .columns, .softmax: break
    }
    return steps.contains {
      if case .normalization(let normalization, _, _, _) = $0 { usesBatch(normalization) } else { false }
    }
  }
}
