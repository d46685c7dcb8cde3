import Foundation

/// The pen strokes of the ten digits in several ways of writing each.
///
/// A stroke is a smooth curve through its points, in a frame whose x runs from 0 (left) to 1 and y from 0 (top) to 1.
enum DigitSkeletons {
  typealias Point = SIMD2<Double>
  typealias Stroke = [Point]

  /// One way to write a digit.
  typealias Style = [Stroke]

  /// The styles of each digit, indexed by the digit.
  static let styles: [[Style]] = [zero, one, two, three, four, five, six, seven, eight, nine]

  private static let zero: [Style] = [
    [ellipse(0.5, 0.5, 0.27, 0.41)],
    [ellipse(0.5, 0.5, 0.19, 0.42)],
    [
      curve([
        0.60, 0.12, 0.42, 0.09, 0.28, 0.30, 0.26, 0.62, 0.40, 0.90, 0.62, 0.88, 0.75, 0.60, 0.72, 0.28, 0.52, 0.08,
      ])
    ],
    [ellipse(0.5, 0.52, 0.30, 0.32)],
  ]

  private static let one: [Style] = [
    [curve([0.5, 0.08, 0.5, 0.36, 0.5, 0.64, 0.5, 0.92])],
    polyline([0.33, 0.28, 0.53, 0.08, 0.53, 0.92]),
    polyline([0.33, 0.26, 0.52, 0.08, 0.52, 0.92]) + polyline([0.32, 0.92, 0.72, 0.92]),
    [curve([0.58, 0.08, 0.53, 0.36, 0.47, 0.64, 0.42, 0.92])],
  ]

  private static let two: [Style] = [
    [curve([0.26, 0.28, 0.36, 0.12, 0.54, 0.08, 0.70, 0.18, 0.71, 0.34, 0.58, 0.54, 0.40, 0.74, 0.25, 0.91])]
      + polyline([0.25, 0.91, 0.76, 0.91]),
    [
      curve([
        0.27, 0.24, 0.44, 0.09, 0.66, 0.16, 0.68, 0.36, 0.52, 0.62, 0.34, 0.84, 0.23, 0.86, 0.27, 0.73, 0.42, 0.78,
        0.58, 0.90, 0.77, 0.86,
      ])
    ],
    [curve([0.30, 0.16, 0.52, 0.10, 0.68, 0.24, 0.58, 0.48, 0.30, 0.86])] + [
      curve([0.30, 0.86, 0.46, 0.82, 0.60, 0.90, 0.76, 0.88])
    ],
  ]

  private static let three: [Style] = [
    [
      curve([0.28, 0.18, 0.46, 0.08, 0.66, 0.16, 0.67, 0.34, 0.54, 0.45, 0.42, 0.47]),
      curve([0.42, 0.47, 0.62, 0.51, 0.73, 0.68, 0.62, 0.87, 0.42, 0.92, 0.25, 0.82]),
    ],
    polyline([0.28, 0.10, 0.70, 0.10, 0.46, 0.42])
      + [curve([0.46, 0.42, 0.66, 0.48, 0.73, 0.68, 0.60, 0.88, 0.40, 0.92, 0.25, 0.82])],
    [
      curve([
        0.30, 0.14, 0.52, 0.08, 0.66, 0.22, 0.58, 0.40, 0.44, 0.46, 0.46, 0.49, 0.64, 0.56, 0.70, 0.74, 0.56, 0.90,
        0.30, 0.90,
      ])
    ],
  ]

  private static let four: [Style] = [
    polyline([0.34, 0.10, 0.26, 0.56, 0.78, 0.56]) + polyline([0.64, 0.30, 0.62, 0.94]),
    polyline([0.62, 0.93, 0.62, 0.08, 0.22, 0.63, 0.80, 0.63]),
    [curve([0.32, 0.10, 0.27, 0.34, 0.34, 0.52, 0.52, 0.52, 0.68, 0.44])] + polyline([0.70, 0.10, 0.62, 0.94]),
    polyline([0.52, 0.08, 0.24, 0.58, 0.78, 0.58]) + polyline([0.60, 0.40, 0.60, 0.94]),
  ]

  private static let five: [Style] = [
    polyline([0.70, 0.10, 0.34, 0.10, 0.31, 0.46])
      + [curve([0.31, 0.46, 0.50, 0.40, 0.70, 0.50, 0.72, 0.72, 0.56, 0.90, 0.28, 0.86])],
    [
      curve([
        0.72, 0.12, 0.50, 0.10, 0.36, 0.16, 0.33, 0.36, 0.48, 0.45, 0.66, 0.58, 0.66, 0.78, 0.48, 0.91, 0.27, 0.85,
      ])
    ],
    polyline([0.36, 0.12, 0.30, 0.44]) + polyline([0.36, 0.12, 0.74, 0.08])
      + [curve([0.30, 0.44, 0.52, 0.44, 0.66, 0.58, 0.62, 0.80, 0.44, 0.92, 0.24, 0.88])],
  ]

  private static let six: [Style] = [
    [
      curve([
        0.64, 0.10, 0.44, 0.26, 0.32, 0.50, 0.30, 0.72, 0.42, 0.91, 0.62, 0.88, 0.70, 0.70, 0.60, 0.55, 0.42, 0.57,
        0.31, 0.72,
      ])
    ],
    [
      curve([
        0.42, 0.08, 0.33, 0.34, 0.28, 0.62, 0.36, 0.88, 0.54, 0.92, 0.66, 0.78, 0.60, 0.62, 0.44, 0.62, 0.31, 0.76,
      ])
    ],
    [
      curve([
        0.72, 0.18, 0.54, 0.09, 0.36, 0.24, 0.27, 0.52, 0.32, 0.82, 0.50, 0.92, 0.68, 0.80, 0.67, 0.58, 0.50, 0.48,
        0.30, 0.60,
      ])
    ],
  ]

  private static let seven: [Style] = [
    polyline([0.24, 0.12, 0.74, 0.12, 0.44, 0.92]),
    polyline([0.24, 0.12, 0.74, 0.12, 0.44, 0.92]) + polyline([0.36, 0.52, 0.70, 0.50]),
    polyline([0.25, 0.24, 0.26, 0.12]) + [curve([0.26, 0.12, 0.42, 0.15, 0.58, 0.13, 0.74, 0.11])]
      + [curve([0.74, 0.11, 0.60, 0.36, 0.52, 0.60, 0.49, 0.92])],
  ]

  private static let eight: [Style] = [
    [
      curve([
        0.66, 0.20, 0.50, 0.08, 0.34, 0.18, 0.38, 0.38, 0.56, 0.52, 0.70, 0.70, 0.58, 0.90, 0.40, 0.90, 0.30, 0.72,
        0.44, 0.50, 0.62, 0.36, 0.66, 0.20,
      ])
    ],
    [ellipse(0.5, 0.28, 0.17, 0.19), ellipse(0.5, 0.70, 0.21, 0.22)],
    [
      curve([
        0.72, 0.12, 0.48, 0.09, 0.33, 0.22, 0.44, 0.42, 0.62, 0.58, 0.66, 0.80, 0.48, 0.92, 0.32, 0.80, 0.40, 0.58,
        0.58, 0.38, 0.74, 0.14,
      ])
    ],
  ]

  private static let nine: [Style] = [
    [ellipse(0.48, 0.30, 0.20, 0.21)] + polyline([0.68, 0.28, 0.64, 0.92]),
    [ellipse(0.49, 0.30, 0.20, 0.21), curve([0.69, 0.28, 0.69, 0.54, 0.60, 0.82, 0.34, 0.91])],
    [
      curve([
        0.68, 0.18, 0.50, 0.08, 0.32, 0.22, 0.32, 0.42, 0.50, 0.50, 0.66, 0.36, 0.69, 0.16, 0.66, 0.44, 0.62, 0.68,
        0.56, 0.92,
      ])
    ],
  ]

  /// A smooth stroke through points given as a flat list of coordinates, x before y.
  private static func curve(_ coordinates: [Double]) -> Stroke {
    stride(from: 0, to: coordinates.count, by: 2).map { Point(coordinates[$0], coordinates[$0 + 1]) }
  }

  /// A stroke for each straight side, with points within the side so that it can bend.
  private static func polyline(_ coordinates: [Double]) -> [Stroke] {
    let corners = curve(coordinates)
    return zip(corners, corners.dropFirst()).map { from, to in
      [0, 1 / 3.0, 2 / 3.0, 1].map { from + (to - from) * $0 }
    }
  }

  /// A closed ellipse about (x, y), begun at the top and written anticlockwise.
  private static func ellipse(_ x: Double, _ y: Double, _ radiusX: Double, _ radiusY: Double) -> Stroke {
    (0...8).map { step in
      let angle = Double(step) / 8 * 2 * Double.pi
      return Point(x - radiusX * sin(angle), y - radiusY * cos(angle))
    }
  }
}
