/// A penalty on a parameter, added to the loss of each batch (Keras's `l1`, `l2` and `l1_l2`).
public enum Regularizer: Sendable, Equatable, Codable {
  /// l1·Σ|w|.
  case l1(Double)
  /// l2·Σw², without the factor ½.
  case l2(Double)
  /// l1·Σ|w| + l2·Σw².
  case l1l2(l1: Double, l2: Double)

  /// The two factors.
  var factors: (l1: Double, l2: Double) {
    switch self {
    case .l1(let factor): (factor, 0)
    case .l2(let factor): (0, factor)
    case .l1l2(let l1, let l2): (l1, l2)
    }
  }
}

/// A set to which a parameter is brought back after each update.
public enum Constraint: Sendable, Equatable, Codable {
  /// Negative elements become 0.
  case nonNegative
  /// A vector longer than the bound is scaled to it: w·min(1, bound/‖w‖).
  ///
  /// Keras divides by ‖w‖ + 1e-7 and so shrinks a little even what is inside; here that stays as it is.
  case maxNorm(Double)
  /// The vector is scaled to length 1; zeros stay zeros.
  case unitNorm
}
