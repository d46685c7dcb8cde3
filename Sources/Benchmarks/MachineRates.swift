import Kernels
import Lamina

/// What one core reaches, measured on the spot: the bounds against which kernels are judged.
public struct MachineRates: Sendable, Equatable, Encodable {
  /// `float32` or `float64`.
  public var precision: String
  /// GFLOP/s of multiply-adds in registers, in the instruction set of the kernels.
  public var peakGFLOPS: Double
  /// GFLOP/s of a product of two 1024×1024 matrices, in one call of BLAS on one thread.
  public var squareGFLOPS: Double
  /// GFLOP/s of 32×128×784, a batch of 32 into a first layer, in the pieces that a training step makes of it.
  public var layerGFLOPS: Double
  /// GB/s read and written, together, by a copy of 128 KiB, which stays in the L2 cache.
  public var cacheCopyGBs: Double
  /// GB/s read and written by a copy of 64 MiB, which comes from memory.
  public var memoryCopyGBs: Double

  private enum CodingKeys: String, CodingKey {
    case precision
    case peakGFLOPS = "peak_gflops"
    case squareGFLOPS = "gemm_1024_gflops"
    case layerGFLOPS = "gemm_layer_gflops"
    case cacheCopyGBs = "copy_cache_gb_per_s"
    case memoryCopyGBs = "copy_memory_gb_per_s"
  }

  /// Measures on one core, best of several runs, for about `seconds` in all; the core must be idle for it.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  public static func measure<Scalar: NetworkScalar>(
    as type: Scalar.Type, seconds: Double = 0.5
  ) throws -> MachineRates {
    BLAS.prepare()
    let kernels = try Scalar.kernels().measurement
    let part = seconds / 5
    return ScratchMemory.scope {
      MachineRates(
        precision: Scalar.precisionName, peakGFLOPS: peak(kernels, seconds: part),
        squareGFLOPS: product(1024, 1024, 1024, as: type, tiled: false, seconds: part),
        layerGFLOPS: product(32, 128, 784, as: type, tiled: true, seconds: part),
        cacheCopyGBs: copy(kernels, bytes: 64 << 10, seconds: part),
        memoryCopyGBs: copy(kernels, bytes: 32 << 20, seconds: part))
    }
  }

  /// GFLOP/s of multiply-add chains.
  static func peak<Scalar: NetworkScalar>(_ kernels: MeasurementKernels<Scalar>, seconds: Double) -> Double {
    let result = ScratchMatrix<Scalar>(1, 1)
    var flops = 0
    let timing = Timing(seconds: seconds) { flops = kernels.multiplyAddPeak(20_000, result.pointer) }
    return Double(flops) / timing.minimum * 1e-3
  }

  /// GFLOP/s of a product.
  static func product<Scalar: NetworkScalar>(
    _ m: Int, _ n: Int, _ k: Int, as type: Scalar.Type, tiled: Bool, seconds: Double
  ) -> Double {
    let a = ScratchMatrix<Scalar>(m, k) { row, column in Double((row + column) % 7) - 3 }
    let b = ScratchMatrix<Scalar>(k, n) { row, column in Double((row * 3 + column) % 5) - 2 }
    let c = ScratchMatrix<Scalar>(m, n)
    let timing = Timing(seconds: seconds) {
      if tiled {
        TiledProduct.unsafeMultiply(
          transposeA: false, transposeB: false, m: m, n: n, k: k, a.pointer, k, b.pointer, n, accumulate: false,
          c.pointer, n)
      } else {
        Scalar.unsafeMultiply(
          transposeA: false, transposeB: false, m: m, n: n, k: k, alpha: 1, a.pointer, k, b.pointer, n, beta: 0,
          c.pointer, n)
      }
    }
    return 2 * Double(m) * Double(n) * Double(k) / timing.minimum * 1e-3
  }

  /// GB/s of a copy from one vector of `bytes` to another, both directions counted.
  static func copy<Scalar: NetworkScalar>(
    _ kernels: MeasurementKernels<Scalar>, bytes: Int, seconds: Double
  ) -> Double {
    let count = bytes / MemoryLayout<Scalar>.stride
    let (x, y) = (ScratchMatrix<Scalar>(1, count), ScratchMatrix<Scalar>(1, count))
    let timing = Timing(seconds: seconds) { kernels.streamCopy(x.pointer, y.pointer, count) }
    return 2 * Double(bytes) / timing.minimum * 1e-3
  }
}
