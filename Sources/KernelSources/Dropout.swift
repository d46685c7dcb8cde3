internal import CKernelShims
import KernelInterface

/// Columns whose draws come from one vector of words.
private let drawColumns = 32
/// What sets rows apart before their numbers are mixed: 2⁶⁴ over the golden ratio.
private let oddMultiple: UInt64 = 0x9e37_79b9_7f4a_7c15

func dropout(
  _ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ rate: Double, _ key: UInt64, _ firstColumn: Int
) {
  let kept = (1 - rate) * 0x1p32
  // A rate below 2⁻³³ drops nothing; the largest threshold keeps all but one in 2³².
  let keepsAll = kept >= 0x1p32 - 0.5
  let threshold = keepsAll ? UInt32.max : UInt32(kept + 0.5)
  let factor = keepsAll ? 1 : Scalar(1 / (1 - rate))
  // Mixing the key first keeps close keys' rows from meeting.
  let mixedKey = lam_mix64(key &+ oddMultiple)
  let block = UInt32(truncatingIfNeeded: firstColumn / drawColumns)
  let skipped = firstColumn % drawColumns
  if skipped == 0 && x.columns % drawColumns == 0 && !keepsAll {
    return keepRows(x, y, mixedKey, block, threshold, factor)
  }
  let scale = splat(factor)
  var (from, to) = (x.base, y.base)
  var rowNumber: UInt64 = 0
  for _ in 0..<x.rows {
    let rowKey = lam_mix64(mixedKey &+ rowNumber)
    let words = lam_first_words(rowKey, block)
    if keepsAll {
      keep(from, to, x.columns, UInt32.max, scale)
    } else {
      keepSlice(from, to, x.columns, skipped, words, rowKey, threshold, scale)
    }
    from += x.stride
    to += y.stride
    rowNumber &+= oddMultiple
  }
}

/// Rows of whole blocks of draws.
///
/// A function of its own, so that its loop finds what it needs in registers: values read back from the stack between
/// rows make it take an eighth longer.
@inline(never)
private func keepRows(
  _ x: MatrixView<Scalar>, _ y: MatrixView<Scalar>, _ key: UInt64, _ block: UInt32, _ threshold: UInt32,
  _ scale: Scalar
) {
  let scale = splat(scale)
  var (from, to) = (x.base, y.base)
  var rowNumber: UInt64 = 0
  var rows = x.rows
  while rows > 0 {
    let rowKey = lam_mix64(key &+ rowNumber)
    var words = lam_first_words(rowKey, block)
    var column = 0
    while column < x.columns {
      keepBlock(from + column, to + column, lam_mix_words(words, rowKey), threshold, scale)
      words = lam_next_words(words)
      column &+= drawColumns
    }
    from += x.stride
    to += y.stride
    rowNumber &+= oddMultiple
    rows &-= 1
  }
}

/// A row that starts `skipped` columns into its first block, or ends within its last.
@inline(__always)
private func keepSlice(
  _ from: ConstPointer, _ to: Pointer, _ columns: Int, _ skipped: Int, _ first: lam_words, _ key: UInt64,
  _ threshold: UInt32, _ scale: Vector
) {
  var words = first
  var column = 0
  if skipped > 0 {
    column = columns < drawColumns - skipped ? columns : drawColumns - skipped
    keep(from, to, column, drawBits(words, key, threshold) >> UInt32(truncatingIfNeeded: skipped), scale)
    words = lam_next_words(words)
  }
  while column &+ drawColumns <= columns {
    keepBlock(from + column, to + column, lam_mix_words(words, key), threshold, scale)
    words = lam_next_words(words)
    column &+= drawColumns
  }
  if column < columns {
    keep(from + column, to + column, columns - column, drawBits(words, key, threshold), scale)
  }
}

/// 32 elements, scaled where their draw is below the threshold, else 0.
@inline(__always)
private func keepBlock(_ from: ConstPointer, _ to: Pointer, _ mixed: lam_words, _ threshold: UInt32, _ scale: Vector) {
  let (lower, upper) = (lam_lower_draws(mixed), lam_upper_draws(mixed))
  #if LAMINA_DOUBLE
    lam_store(to, lam_keep_below(lam_load(from) * scale, lower, 0, threshold))
    lam_store(to + lanes, lam_keep_below(lam_load(from + lanes) * scale, lower, 1, threshold))
    lam_store(to + 2 &* lanes, lam_keep_below(lam_load(from + 2 &* lanes) * scale, upper, 0, threshold))
    lam_store(to + 3 &* lanes, lam_keep_below(lam_load(from + 3 &* lanes) * scale, upper, 1, threshold))
  #else
    lam_store(to, lam_keep_below(lam_load(from) * scale, lower, 0, threshold))
    lam_store(to + lanes, lam_keep_below(lam_load(from + lanes) * scale, upper, 0, threshold))
  #endif
}

/// Bit i: whether the mask keeps column i of the block.
@inline(__always)
private func drawBits(_ words: lam_words, _ key: UInt64, _ threshold: UInt32) -> UInt32 {
  let mixed = lam_mix_words(words, key)
  return lam_bits_below(lam_lower_draws(mixed), threshold) | lam_bits_below(lam_upper_draws(mixed), threshold) << 16
}

/// `width` elements, scaled where their bit is set, else 0; the bits repeat after 32.
@inline(__always)
private func keep(_ from: ConstPointer, _ to: Pointer, _ width: Int, _ bits: UInt32, _ scale: Vector) {
  var column = 0
  while column < width {
    let count = width - column < lanes ? width - column : lanes
    let scaled = load(from + column, count) * scale
    store(to + column, lam_keep_bits(scaled, bits >> UInt32(truncatingIfNeeded: column & 31)), count)
    column += lanes
  }
}
