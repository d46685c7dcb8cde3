/// A matrix product cut into calls small enough for BLAS's path without packing.
///
/// OpenBLAS multiplies without first copying its operands where m·n·k ≤ 10⁶ (on CPUs for which it has small-matrix
/// kernels); below that bound it comes near the FMA peak on the shapes of a layer's tile, where one call does not. The
/// cut follows from the shape alone, because the bits of a product depend on it.
public enum TiledProduct {
  /// The bound of OpenBLAS's small-matrix path.
  @inlinable static var smallProduct: Int { 1_000_000 }

  /// C = op(A)·op(B), or C += op(A)·op(B), unchecked; op(A) is m × k, op(B) k × n, row-major with the given strides.
  ///
  /// Cost: 2·m·n·k flops.
  @inlinable @inline(__always)
  public static func unsafeMultiply<Scalar: BLASScalar>(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int,
    _ a: UnsafePointer<Scalar>, _ aStride: Int, _ b: UnsafePointer<Scalar>, _ bStride: Int,
    accumulate: Bool, _ c: UnsafeMutablePointer<Scalar>, _ cStride: Int
  ) {
    let (rows, depth) = block(transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k)
    var row = 0
    while row < m {
      let rowCount = min(rows, m - row)
      var inner = 0
      while inner < k {
        let innerCount = min(depth, k - inner)
        let aPart = transposeA ? a + inner * aStride + row : a + row * aStride + inner
        let bPart = transposeB ? b + inner : b + inner * bStride
        Scalar.unsafeMultiply(
          transposeA: transposeA, transposeB: transposeB, m: rowCount, n: n, k: innerCount, alpha: 1,
          aPart, aStride, bPart, bStride, beta: accumulate || inner > 0 ? 1 : 0, c + row * cStride, cStride)
        inner += innerCount
      }
      row += rowCount
    }
  }

  /// Rows and depth of one call.
  ///
  /// Measured on OpenBLAS 0.3.21, Float, n = 64 (GFLOP/s at a peak of 241): A·B in 32 rows × up to 488 deep 237, in one
  /// call 157 to 196; Aᵀ·B in about 120 rows × 128 deep 223 to 239, in one call 189 to 202; A·Bᵀ is slower in the small
  /// path (112) than packed (190), so it is not cut.
  @inlinable @inline(__always)
  static func block(transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int) -> (rows: Int, depth: Int) {
    if transposeB { return (m, k) }
    if transposeA { return (gradientRows(m: m, n: n, k: k), min(k, gradientDepth)) }
    if m &* n &* k <= smallProduct { return (m, k) }
    let rows = min(m, 32)
    return (rows, piece(of: k, atMost: max(16, smallProduct / (rows * n)), multiple: 8))
  }

  /// Samples that one call of a weight gradient sums over at most.
  @usableFromInline static let gradientDepth = 128

  /// Rows of one call of a weight gradient Aᵀ·B: n columns of them stay in the L1 cache.
  @inlinable @inline(__always)
  public static func gradientRows(m: Int, n: Int, k: Int) -> Int {
    let cost = n &* min(k, gradientDepth)
    // Divisions take as long as a small product.
    let limit = cost &* 128 <= smallProduct ? 128 : min(128, max(16, smallProduct / cost))
    return piece(of: m, atMost: limit, multiple: 16)
  }

  /// The size of about equal pieces of `count`, none above `limit` but for rounding down to `multiple`.
  @inlinable @inline(__always)
  public static func piece(of count: Int, atMost limit: Int, multiple: Int) -> Int {
    if count <= limit { return count }
    let pieces = (count + limit - 1) / limit
    let size = ((count + pieces - 1) / pieces + multiple - 1) / multiple * multiple
    return size <= limit ? size : max(multiple, limit / multiple * multiple)
  }
}
