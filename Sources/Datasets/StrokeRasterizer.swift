import Foundation

/// Draws smooth strokes as soft-edged ink into a small grey image, by the distance of each pixel to the pen's path.
struct StrokeRasterizer {
  typealias Point = SIMD2<Float>

  /// The side of the square image.
  let side: Int

  /// For each pixel the least (distance / local pen radius)² to the strokes drawn so far.
  private let field: UnsafeMutablePointer<Float>

  /// Everything farther than this many pen radii plus this many pixels from a stroke stays paper.
  private static let margin: Float = 2

  /// Images of `side` × `side` pixels in `field`, which has room for them and outlives the rasterizer.
  init(side: Int, field: UnsafeMutablePointer<Float>) {
    self.side = side
    self.field = field
  }

  /// Takes a white sheet.
  func clear() { field.update(repeating: .greatestFiniteMagnitude, count: side * side) }

  /// Draws a Catmull-Rom spline through `points` (in pixels) with a pen whose radius goes from `startRadius` to
  /// `endRadius`.
  func draw(_ points: UnsafeBufferPointer<Point>, startRadius: Float, endRadius: Float) {
    let last = points.count - 1
    var from = points[0]
    var drawn: Float = 0
    for index in 0..<last {
      let p1 = points[index]
      let p2 = points[index + 1]
      let p0 = index > 0 ? points[index - 1] : p1 + p1 - p2
      let p3 = index + 2 <= last ? points[index + 2] : p2 + p2 - p1
      let chord = p2 - p1
      let length = (chord * chord).sum().squareRoot()
      let pieces = max(1, min(8, Int(length / 2 + 0.5)))
      for piece in 1...pieces {
        let t = Float(piece) / Float(pieces)
        let cubic = (p1 - p2) * 3 + p3 - p0
        let square = p0 * 2 - p1 * 5 + p2 * 4 - p3
        let to = ((cubic * t + square) * t + (p2 - p0)) * (t * 0.5) + p1
        drawn = (Float(index) + t) / Float(last)
        segment(from, to, radius: startRadius + (endRadius - startRadius) * drawn)
        from = to
      }
    }
  }

  private func segment(_ a: Point, _ b: Point, radius: Float) {
    let reach = radius + StrokeRasterizer.margin
    let low = pointwiseMin(a, b) - reach
    let high = pointwiseMax(a, b) + reach
    let limit = Float(side - 1)
    let left = Int(max(0, min(limit, low.x)))
    let right = Int(max(0, min(limit, high.x.rounded(.up))))
    let top = Int(max(0, min(limit, low.y)))
    let bottom = Int(max(0, min(limit, high.y.rounded(.up))))
    let along = b - a
    let inverseSquare = 1 / max((along * along).sum(), 1e-6)
    let unit = along * inverseSquare
    let weight = 1 / (radius * radius)
    for y in top...bottom {
      let dy = Float(y) - a.y
      let row = field + y * side
      for x in left...right {
        let dx = Float(x) - a.x
        let t = max(0, min(1, dx * unit.x + dy * unit.y))
        let ex = dx - t * along.x
        let ey = dy - t * along.y
        row[x] = min(row[x], (ex * ex + ey * ey) * weight)
      }
    }
  }

  /// Turns the distances into ink: 1 within the pen's radius, 0 outside, with an edge `softness` pixels wide.
  func ink(radius: Float, softness: Float) {
    let slope = radius / softness
    for pixel in 0..<side * side {
      field[pixel] = max(0, min(1, (1 - field[pixel].squareRoot()) * slope + 0.5))
    }
  }
}
