/// How the rows of a batch are cut into panels, whose sums are made apart and then merged in order.
///
/// A team that shares a batch's rows takes whole panels. The cut follows from the number of rows alone: the bits of
/// statistics and gradients do not depend on who made which panel, nor on whether rows or columns were shared.
public enum NormalizationPanels {
  /// Rows of a block: within it sums are taken in `Scalar`, beyond it in Double.
  @inlinable @inline(__always)
  public static var blockRows: Int { 64 }

  /// Rows of every panel but the last: whole blocks, so that there are at most 16 panels.
  @inlinable @inline(__always)
  public static func rows(of rows: Int) -> Int { (rows + 16 * blockRows - 1) / (16 * blockRows) * blockRows }

  /// Panels of a batch of `rows` rows.
  @inlinable @inline(__always)
  public static func count(of rows: Int) -> Int {
    let panel = self.rows(of: rows)
    return (rows + panel - 1) / panel
  }
}
