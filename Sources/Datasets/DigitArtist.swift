import Foundation
import RandomNumbers

/// Draws one digit after another from random numbers, with scratch memory of its own.
final class DigitArtist {
  private typealias Point = SIMD2<Double>

  private static let side = SyntheticDigits.side
  private static let mostPoints = DigitSkeletons.styles.joined().joined().map(\.count).max() ?? 0

  private let field: UnsafeMutablePointer<Float>
  private let points: UnsafeMutablePointer<SIMD2<Float>>
  private let rasterizer: StrokeRasterizer

  init() {
    field = .allocate(capacity: DigitArtist.side * DigitArtist.side)
    points = .allocate(capacity: DigitArtist.mostPoints)
    rasterizer = StrokeRasterizer(side: DigitArtist.side, field: field)
  }

  deinit {
    field.deallocate()
    points.deallocate()
  }

  /// Draws a random digit into `image` and returns which.
  func draw(into image: UnsafeMutableBufferPointer<UInt8>, random: inout Philox) -> Int32 {
    let digit = random.nextInteger(below: 10)
    let styles = DigitSkeletons.styles[digit]
    let style = styles[random.nextInteger(below: styles.count)]
    let hand = Hand(&random)
    rasterizer.clear()
    for stroke in style {
      for (index, point) in stroke.enumerated() { points[index] = SIMD2<Float>(hand.place(point)) }
      rasterizer.draw(
        UnsafeBufferPointer(start: points, count: stroke.count), startRadius: hand.radius * hand.startPressure,
        endRadius: hand.radius * hand.endPressure)
    }
    rasterizer.ink(radius: hand.radius, softness: hand.softness)
    develop(image, hand: hand, random: &random)
    return Int32(digit)
  }

  /// Ink and noise to bytes.
  private func develop(_ image: UnsafeMutableBufferPointer<UInt8>, hand: Hand, random: inout Philox) {
    var noise: UInt64 = 0
    for pixel in 0..<image.count {
      if pixel % 4 == 0 { noise = random.next() }
      // The sum of two uniform bytes less its mean: triangular noise from -1 to 1.
      let bytes = Int32(truncatingIfNeeded: noise & 0xff) + Int32(truncatingIfNeeded: noise >> 8 & 0xff)
      let grain = Float(bytes - 255) / 255
      noise >>= 16
      let value = field[pixel] * hand.ink + grain * hand.noise
      image[pixel] = UInt8(max(0, min(255, value + 0.5)))
    }
  }

  /// All that is random about how one digit is written.
  private struct Hand {
    private let matrix: (Point, Point)
    private let centre: Point
    private let waves: (Wave, Wave, Wave)
    let radius: Float
    let startPressure: Float
    let endPressure: Float
    let softness: Float
    let ink: Float
    let noise: Float

    /// One term of the elastic bend: a displacement that varies as a sine along a direction.
    private struct Wave {
      let direction: Point
      let phase: Double
      let amplitude: Point

      init(_ random: inout Philox, strength: Double) {
        let angle = random.nextUniform() * 2 * Double.pi
        let frequency = 2 * Double.pi * (0.4 + 0.6 * random.nextUniform())
        direction = Point(cos(angle), sin(angle)) * frequency
        phase = random.nextUniform() * 2 * Double.pi
        amplitude = Point(random.nextNormal(), random.nextNormal()) * strength
      }

      func displacement(at point: Point) -> Point { amplitude * sin((direction * point).sum() + phase) }
    }

    init(_ random: inout Philox) {
      func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * random.nextUniform() }
      let size = Double(DigitArtist.side)
      let height = size * uniform(0.63, 0.84)
      let width = height * uniform(0.78, 1.12)
      let slant = 0.16 + 0.19 * random.nextTruncatedNormal()
      let rotation = 0.11 * random.nextTruncatedNormal()
      let cosine = cos(rotation)
      let sine = sin(rotation)
      // Columns of rotation × shear × scale.
      let down = Point(-slant * cosine - sine, -slant * sine + cosine)
      matrix = (Point(cosine, sine) * width, down * height)
      let shift = Point(uniform(-1.9, 1.9), uniform(-1.9, 1.9))
      centre = shift + (size - 1) / 2
      let strength = 0.032
      waves = (
        Wave(&random, strength: strength), Wave(&random, strength: strength), Wave(&random, strength: strength)
      )
      radius = Float(uniform(0.85, 2.0))
      startPressure = Float(uniform(0.75, 1.2))
      endPressure = Float(uniform(0.75, 1.2))
      softness = Float(uniform(0.8, 2.0))
      ink = Float(uniform(170, 270))
      noise = Float(uniform(5, 45))
    }

    /// Where a point of the skeleton comes to lie, in pixels.
    func place(_ point: Point) -> Point {
      var bent = point - 0.5
      bent += waves.0.displacement(at: point)
      bent += waves.1.displacement(at: point)
      bent += waves.2.displacement(at: point)
      return centre + matrix.0 * bent.x + matrix.1 * bent.y
    }
  }
}
