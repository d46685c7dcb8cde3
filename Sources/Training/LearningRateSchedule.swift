import Foundation

/// How the learning rate moves during one `fit`, as a factor on the optimizer's own.
///
/// t goes from 0 at the first step to 1 at the end of the last.
public enum LearningRateSchedule: String, Sendable, CaseIterable, Codable {
  /// The optimizer's learning rate throughout, as in Keras by default.
  case constant
  /// (1 + cos πt)/2 (Loshchilov and Hutter 2017, equation 5, without restarts).
  case cosine
  /// 1 − t.
  case linear

  /// The factor at step `step` of `count`, counted from 0.
  public func factor(step: Int, of count: Int) -> Double {
    let t = Double(step) / Double(max(count, 1))
    return switch self {
    case .constant: 1
    case .cosine: (1 + cos(.pi * t)) / 2
    case .linear: 1 - t
    }
  }
}
