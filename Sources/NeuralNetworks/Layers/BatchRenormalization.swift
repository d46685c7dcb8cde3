/// Batch renormalization: x̂ of the batch is corrected towards what the running statistics give (Ioffe 2017).
///
/// y = γ·(x̂·r + d) + β with x̂ = (x − μ)/√(σ² + ε), r = √(σ² + ε)/s clipped to [rmin, rmax] and d = (μ − m)/s clipped to
/// [−dmax, dmax]; m and s are running averages of the batches' means and of √(σ² + ε) as they were before the step
/// (`renorm_mean`, `renorm_stddev`; s counts as √ε at least). r and d are constants in the backward pass. With rmax =
/// rmin = 1 and dmax = 0 it is plain batch normalization; without clipping it normalizes as inference does.
///
/// As in Keras 3.15 the moving variance of inference is then not averaged itself but s̄² − ε, with s̄ the running average
/// `moving_stddev` of √(σ² + ε).
public struct BatchRenormalization: Sendable, Equatable, Codable {
  /// A number that moves linearly from one value to another over a range of steps, and stays there.
  public struct Ramp: Sendable, Equatable, Codable {
    /// Value up to step `start`.
    public var from: Double
    /// Value from step `end` on.
    public var to: Double
    /// Last step at `from`.
    public var start: Int
    /// First step at `to`.
    public var end: Int

    /// A ramp over steps `start ... end`, counted from 1 since the model was compiled.
    public init(from: Double, to: Double, start: Int, end: Int) {
      self.from = from
      self.to = to
      self.start = start
      self.end = end
    }

    /// The same value at every step.
    public static func constant(_ value: Double) -> Ramp { Ramp(from: value, to: value, start: 0, end: 0) }

    /// The value at `step`.
    public func value(at step: Int) -> Double {
      if step >= end || from == to { return to }
      if step <= start { return from }
      return from + (to - from) * Double(step - start) / Double(end - start)
    }
  }

  /// Largest r.
  public var rmax: Ramp
  /// Smallest r, 0 by default.
  public var rmin: Double
  /// Largest magnitude of d.
  public var dmax: Ramp
  /// Weight of the old value in `renorm_mean` and `renorm_stddev`, 0.99 by default.
  public var weightOfOld: Double

  /// Clipped by the paper's schedule: none of the correction for 5,000 steps, then rmax up to 3 at step 40,000 and dmax
  /// up to 5 at step 25,000 (Ioffe 2017, section 4).
  public init(
    rmax: Ramp = Ramp(from: 1, to: 3, start: 5_000, end: 40_000), rmin: Double = 0,
    dmax: Ramp = Ramp(from: 0, to: 5, start: 5_000, end: 25_000), weightOfOld: Double = 0.99
  ) {
    self.rmax = rmax
    self.rmin = rmin
    self.dmax = dmax
    self.weightOfOld = weightOfOld
  }
}
