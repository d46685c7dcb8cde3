import Testing

@testable import NeuralNetworks

/// How layers are cut into tiles.
@Suite("Tile grid")
struct TileGridTests {
  @Test("Tiles cover all columns in an even number of pieces of 64 at most, from multiples of 16 on")
  func boundaries() {
    for columns in 1...2100 {
      let boundaries = TileGrid.boundaries(columns: columns)
      #expect(boundaries.first == 0 && boundaries.last == columns)
      let widths = zip(boundaries, boundaries.dropFirst()).map { $1 - $0 }
      #expect(widths.allSatisfy { $0 > 0 && $0 <= TileGrid.width }, "\(columns)")
      #expect(boundaries.dropLast().allSatisfy { $0 % 16 == 0 })
      #expect(columns < 48 ? widths.count == 1 : widths.count % 2 == 0)
    }
  }
}
