import Datasets
import Foundation

extension ClassPrediction {
  /// Image `index` of `images`, of shape (count, height, width), drawn with the prediction beside it.
  public func text(images: IDX, index: Int, usesColor: Bool) -> String {
    let (height, width) = (images.dimensions[1], images.dimensions[2])
    let pixels = images.bytes[index * height * width..<(index + 1) * height * width]
    var lines = TerminalImage(pixels: pixels, height: height, width: width, usesColor: usesColor).lines
    let verdict = [
      "image \(index)", "class \(className)", String(format: "probability %.1f %%", probability * 100),
    ]
    let first = max(0, (lines.count - verdict.count) / 2)
    for (offset, words) in verdict.enumerated() {
      while lines.count <= first + offset { lines.append(String(repeating: " ", count: width)) }
      lines[first + offset] += "  " + words
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
