import LinearAlgebra

/// Vectors of one tile of a batch normalization that only some settings need.
///
/// They lie in memory of their own, so that the vectors of the fast path stay together.
struct NormalizationExtras<Scalar: NetworkScalar> {
  /// Where pointers to running statistics point that do not exist; nothing reads it.
  let noStatistics: UnsafeMutablePointer<Scalar>
  /// The corrections of a renormalization.
  let r: UnsafeMutablePointer<Scalar>
  let d: UnsafeMutablePointer<Scalar>
  /// What γ and β become with them, and scratch.
  let gamma: UnsafeMutablePointer<Scalar>
  let beta: UnsafeMutablePointer<Scalar>
  /// Running averages of a renormalization; nil without one.
  let renormMean: UnsafeMutablePointer<Scalar>?
  let renormDeviation: UnsafeMutablePointer<Scalar>?
  let movingDeviation: UnsafeMutablePointer<Scalar>?
  /// Mean, its low part, variance and inverse deviation of each ghost batch, one after the other.
  let groups: UnsafeMutablePointer<Scalar>

  /// The scalars needed for `count` columns and, with ghost batches, for the most groups that `capacity` samples have.
  static func scalars(_ settings: NetworkBuilder.Normalization, count: Int, capacity: Int) -> Int {
    let groupCount = settings.layer.virtualBatchSize.map { max(capacity / $0, 1) } ?? 0
    return (5 + 4 * groupCount) * count
  }

  /// The vectors of `count` columns of a tile, from its `first` on, from `base`, which the caller keeps.
  init(
    _ settings: NetworkBuilder.Normalization, first: Int, count: Int, tile: Int, base: UnsafeMutablePointer<Scalar>,
    store: ParameterStore<Scalar>
  ) {
    (noStatistics, r, d, gamma, beta) = (base, base + count, base + 2 * count, base + 3 * count, base + 4 * count)
    groups = base + 5 * count
    renormMean = settings.renorm.map { store.pointer($0.mean, tile: tile) + first }
    renormDeviation = settings.renorm.map { store.pointer($0.deviation, tile: tile) + first }
    movingDeviation = settings.renorm.map { store.pointer($0.movingDeviation, tile: tile) + first }
  }
}
