/// Loops that measure what the machine can do, in the same instruction set as the kernels.
public final class MeasurementKernels<Scalar>: @unchecked Sendable {
  /// `(rounds, result)`: independent multiply-add chains in registers, enough of them to keep all units busy.
  ///
  /// Writes the chains' sum to `result`, so that they must be computed, and returns the number of flops (2 per
  /// multiply-add) done.
  public var multiplyAddPeak: (@Sendable (Int, UnsafeMutablePointer<Scalar>) -> Int)!

  /// `(x, y, count)`: y = x, by vector loads and stores; 2·count scalars moved.
  public var streamCopy: (@Sendable (UnsafePointer<Scalar>, UnsafeMutablePointer<Scalar>, Int) -> Void)!

  /// `(x, second, y, count, streaming)`: y = x, or x + second where that is given; with `streaming`, and y at a multiple of
  /// 64 bytes, past the caches.
  public var stream:
    (@Sendable (UnsafePointer<Scalar>, UnsafePointer<Scalar>?, UnsafeMutablePointer<Scalar>, Int, Bool) -> Void)!

  init() {}
}
