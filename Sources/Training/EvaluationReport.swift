import Foundation

/// How a saved model did on a data set, as `lamina evaluate --json` prints it.
public struct EvaluationReport: Sendable, Equatable, Encodable {
  /// Name of the data.
  public var data: String
  /// Images it was judged on.
  public var testImages: Int
  /// Mean loss.
  public var testLoss: Double
  /// Share of the images answered right.
  public var testAccuracy: Double

  private enum CodingKeys: String, CodingKey {
    case data
    case testImages = "test_images"
    case testLoss = "test_loss"
    case testAccuracy = "test_accuracy"
  }

  /// The report on `testImages` images of `data`.
  public init(data: String, testImages: Int, evaluation: Evaluation) {
    self.data = data
    self.testImages = testImages
    testLoss = evaluation.loss
    testAccuracy = evaluation.accuracy ?? 0
  }

  /// The report in words.
  public var text: String {
    String(
      format: "Test accuracy %.2f %%, test loss %.4f on %d held-out images (%@)", testAccuracy * 100, testLoss,
      testImages, data)
  }
}
