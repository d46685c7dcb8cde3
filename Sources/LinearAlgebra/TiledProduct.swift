/// A matrix product cut into calls small enough for BLAS's path without packing.
///
/// OpenBLAS multiplies without first copying its operands where m·n·k ≤ 10⁶ (on CPUs for which it has small-matrix
/// kernels); below that bound it comes near the FMA peak on the shapes of a layer's tile, where one call does not. The
/// cut follows from the shape alone, because the bits of a product depend on it.
public enum TiledProduct {
  /// The bound of OpenBLAS's small-matrix path.
  @usableFromInline static let smallProduct = 1_000_000

  /// C = op(A)·op(B) + beta·C, unchecked; op(A) is m × k, op(B) k × n, all row-major with the given strides.
  ///
  /// beta is 0 or 1. Cost: 2·m·n·k flops.
  @inlinable @inline(__always)
  public static func unsafeMultiply<Scalar: BLASScalar>(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int,
    _ a: UnsafePointer<Scalar>, _ aStride: Int, _ b: UnsafePointer<Scalar>, _ bStride: Int,
    accumulate: Bool, _ c: UnsafeMutablePointer<Scalar>, _ cStride: Int
  ) {
    let (rows, depth) = block(m: m, n: n, k: k, transposeA: transposeA)
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

  /// Rows and depth of one call: about equal pieces, the depth cut last where rows alone suffice.
  @inlinable @inline(__always)
  static func block(m: Int, n: Int, k: Int, transposeA: Bool) -> (rows: Int, depth: Int) {
    guard m * n * k > smallProduct else { return (m, k) }
    func pieces(_ count: Int, atMost limit: Int, multiple: Int) -> Int {
      let number = (count + limit - 1) / limit
      let size = (count + number - 1) / number
      return min(count, (size + multiple - 1) / multiple * multiple)
    }
    // Few rows: keep them all and cut the depth. Many: blocks of rows, and of depth where those stay too large.
    let rowLimit = transposeA ? 512 : 64
    let rows =
      m <= rowLimit ? m : pieces(m, atMost: max(16, min(rowLimit, smallProduct / (n * k) / 16 * 16)), multiple: 16)
    let depthLimit = max(16, smallProduct / (rows * n) / 8 * 8)
    let depth = k <= depthLimit ? k : pieces(k, atMost: depthLimit, multiple: 8)
    return (rows, depth)
  }
}
