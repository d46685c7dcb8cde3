/// What becomes of a training step in which a number is not finite.
public enum NonFinitePolicy: String, Sendable, Equatable, CaseIterable, Codable {
  /// Nothing is looked at: NaN and infinity reach the weights. Costs nothing.
  case ignore
  /// The step is undone and skipped, `fit` records it in its `History` and goes on.
  case rollBack
  /// The step is undone and `fit` throws what it would have recorded.
  case `throw`
}
