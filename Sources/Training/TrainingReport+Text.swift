import Foundation

extension TrainingReport {
  /// The report in words, for people.
  public func text(savedTo path: String?) -> String {
    var lines = [
      String(
        format: "Test accuracy %.2f %%, test loss %.4f on %d held-out images (%@)", testAccuracy * 100, testLoss,
        testImages, data),
      String(
        format: "Trained %d parameters for %d epochs of %d images in %.2f s: %.0f images/s", parameters, epochs,
        trainImages, seconds, imagesPerSecond),
      "Batch \(batchSize), \(threads) threads, \(kernels) kernels, OpenBLAS core \(blasCore), seed \(seed)",
      "Weights SHA-256 \(weightsSHA256)",
    ]
    if let path { lines.append("Saved to \(path)") }
    return lines.joined(separator: "\n")
  }
}
