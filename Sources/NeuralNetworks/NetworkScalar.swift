@_exported import KernelInterface
@_exported import Kernels
import LinearAlgebra

/// A scalar type that networks compute in: Float (the default everywhere) and Double.
public protocol NetworkScalar: KernelScalar, BLASScalar, SafetensorsScalar {
  /// The word for it in files and flags: `float32` or `float64`.
  static var precisionName: String { get }

  /// Does `member`'s share of the job that `plan` holds.
  ///
  /// A requirement only so that the compiled step is specialized: the conformances below name concrete types, and the
  /// optimizer makes concrete code of all that they call.
  static func work(on plan: ExecutionPlan<Self>, member: Int)

  /// Does `member`'s share of a normalization; a requirement for the same reason.
  static func work(on normalization: SharedNormalization<Self>, member: Int)
}

extension Float: NetworkScalar {
  /// `float32`.
  public static var precisionName: String { "float32" }
  /// The specialized step.
  public static func work(on plan: ExecutionPlan<Float>, member: Int) { plan.performWork(member: member) }
  /// The specialized normalization.
  public static func work(on normalization: SharedNormalization<Float>, member: Int) {
    normalization.performWork(member: member)
  }
}

extension Double: NetworkScalar {
  /// `float64`.
  public static var precisionName: String { "float64" }
  /// The specialized step.
  public static func work(on plan: ExecutionPlan<Double>, member: Int) { plan.performWork(member: member) }
  /// The specialized normalization.
  public static func work(on normalization: SharedNormalization<Double>, member: Int) {
    normalization.performWork(member: member)
  }
}
