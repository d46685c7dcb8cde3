/// How the columns of a layer are cut into tiles, from its shape alone.
///
/// A member of the team owns whole tiles. The grid may depend on nothing but the shape, because the bits of a product
/// depend on how it is cut: the team's size decides who computes a tile, never what a tile is.
enum TileGrid {
  /// Widest tile: 64 columns, so that a tile's rows are whole cache lines and products keep a long inner dimension.
  static let width = 64

  /// The least columns of two tiles: usually, and of a dense layer of `deep` inputs or more.
  ///
  /// On one thread tiles of one vector take up to a seventh longer than one of two; a step long enough for two threads makes
  /// up for it by a fourth to a third.
  private static let fewestColumns = (usually: 48, ofDeepLayers: 17)
  private static let deep = 256

  /// The first column of each tile, and the number of columns at the end.
  ///
  /// Below 48 columns there is one tile (up to 16 of a dense layer of 256 `inputs` or more); above, an even number of about
  /// equal ones that begin at multiples of 16.
  static func boundaries(columns: Int, inputs: Int = 0) -> [Int] {
    guard columns >= (inputs >= deep ? fewestColumns.ofDeepLayers : fewestColumns.usually) else { return [0, columns] }
    let tiles = max(2, ((columns + width - 1) / width + 1) / 2 * 2)
    var boundaries = (0..<tiles).map { ($0 * columns / tiles + 8) / 16 * 16 } + [columns]
    // Rounding may leave a tile more than its share.
    for tile in (1..<tiles).reversed() {
      boundaries[tile] = max(boundaries[tile], (boundaries[tile + 1] - width + 15) / 16 * 16)
    }
    return boundaries
  }

  /// The tiles that `member` of a team of `size` owns, out of `count`.
  @inline(__always)
  static func owned(by member: Int, of size: Int, count: Int) -> Range<Int> {
    // Divisions take as long as a small product.
    if size == 1 { return 0..<count }
    // Rounded up, so that a single tile is member 0's: the loss follows it without a barrier.
    return (member * count + size - 1) / size..<((member + 1) * count + size - 1) / size
  }
}
