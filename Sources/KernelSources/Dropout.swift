internal import CKernelShims
import KernelInterface

func dropout(
  _ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ rate: Double, _ key: UInt64, _ firstColumn: Int
) {
  let kept = (1 - rate) * 0x1p32
  // A rate below 2⁻³³ drops nothing; the largest threshold keeps all but one in 2³².
  let keepsAll = kept >= 0x1p32 - 0.5
  let threshold = keepsAll ? UInt32.max : UInt32(kept + 0.5)
  let scale = splat(keepsAll ? 1 : Scalar(1 / (1 - rate)))
  for row in 0..<x.rows {
    let from = x.base + row * x.stride
    let to = y.base + row * y.stride
    // The odd multiple sets rows apart before the mixing; mixing the key first keeps close keys' rows from meeting.
    let rowKey = lam_mix64(lam_mix64(key &+ 0x9e37_79b9_7f4a_7c15) &+ UInt64(row) &* 0x9e37_79b9_7f4a_7c15)
    var column = 0
    while column < x.columns {
      let count = x.columns - column
      let hash = lam_hash_columns(rowKey, UInt32(truncatingIfNeeded: firstColumn + column))
      if count >= lanes {
        let scaled = lam_load(from + column) * scale
        lam_store(to + column, keepsAll ? scaled : lam_keep_below(scaled, hash, threshold))
      } else {
        let scaled = load(from + column, count) * scale
        store(to + column, keepsAll ? scaled : lam_keep_below(scaled, hash, threshold), count)
      }
      column += lanes
    }
  }
}
