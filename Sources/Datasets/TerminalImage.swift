/// A grey image as lines of text: two rows of pixels a line, since a character is about twice as high as wide.
public struct TerminalImage: Sendable {
  /// The lines, top to bottom.
  public let lines: [String]

  /// Characters of growing ink.
  private static let ramp = Array(" .:-=+*#%@")

  /// The image of `height` rows of `width` pixels, 0 being dark.
  ///
  /// - Parameters:
  ///   - pixels: row by row, height × width of them.
  ///   - height: number of rows.
  ///   - width: number of columns.
  ///   - usesColor: half blocks in the grey levels of 256-colour terminals, or plain characters.
  public init(pixels: ArraySlice<UInt8>, height: Int, width: Int, usesColor: Bool) {
    precondition(pixels.count == height * width, "\(pixels.count) pixels are not \(height) × \(width)")
    func pixel(_ row: Int, _ column: Int) -> Int {
      row < height ? Int(pixels[pixels.startIndex + row * width + column]) : 0
    }
    lines = stride(from: 0, to: height, by: 2).map { row in
      let cells = (0..<width).map { column in
        let (upper, lower) = (pixel(row, column), pixel(row + 1, column))
        return usesColor
          ? "\u{1B}[38;5;\(Self.grey(upper));48;5;\(Self.grey(lower))m▀"
          : String(Self.ramp[(upper + lower) * (Self.ramp.count - 1) / 510])
      }
      return cells.joined() + (usesColor ? "\u{1B}[0m" : "")
    }
  }

  /// The colour number of a grey level: 16 is black, 231 white, 232 … 255 the levels between.
  private static func grey(_ value: Int) -> Int {
    let level = value * 25 / 255
    return level == 0 ? 16 : level == 25 ? 231 : 231 + level
  }
}
