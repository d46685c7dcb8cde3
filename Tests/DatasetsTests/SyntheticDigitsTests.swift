import Datasets
import Foundation
import Testing

@Suite struct SyntheticDigitsTests {
  @Test func aSeedDecidesEveryImage() {
    let digits = SyntheticDigits(seed: 7)
    let data = digits.train(count: 300)
    #expect(data == digits.train(count: 300))
    #expect(data != SyntheticDigits(seed: 8).train(count: 300))
    #expect(data.pixels != digits.test(count: 300).pixels)
  }

  @Test func anImageDoesNotDependOnHowManyAreDrawn() {
    let digits = SyntheticDigits(seed: 1)
    let data = digits.test(count: 300)
    for count in [0, 1, 127, 128, 129] { #expect(digits.test(count: count) == data.subset(0..<count)) }
    #expect(digits.train(count: -5).count == 0)
  }

  @Test func imagesAreDigitsOnPaper() {
    let data = SyntheticDigits(seed: 3).data(trainCount: 2000, testCount: 10)
    #expect(data.train.height == 28 && data.train.width == 28 && data.train.classCount == 10)
    #expect(data.test.count == 10)
    for image in 0..<data.train.count {
      let pixels = data.train.subset(image..<image + 1).pixels
      let ink = pixels.count { $0 >= 100 }
      // A stroke about two pixels wide and at least half the sheet high, and never half the sheet in ink.
      #expect((15..<392).contains(ink), "image \(image) has \(ink) pixels of ink")
    }
  }

  @Test func classesAreEquallyLikely() {
    let labels = SyntheticDigits(seed: 0).train(count: 5000).labels
    for label in 0..<10 {
      // Binomial(5000, 1/10): mean 500, deviation 21.2; six deviations.
      #expect(abs(labels.count { $0 == label } - 500) < 128)
    }
  }

  /// The simplest linear classifier, the nearest class mean, is far from chance and far from good.
  @Test func aLinearModelFindsThemHard() {
    let data = SyntheticDigits(seed: 0).data(trainCount: 2000, testCount: 400)
    let size = data.train.featureCount
    var means = [[Double]](repeating: [Double](repeating: 0, count: size), count: 10)
    for (image, label) in data.train.labels.enumerated() {
      for pixel in 0..<size { means[Int(label)][pixel] += Double(data.train.pixels[image * size + pixel]) }
    }
    for label in 0..<10 {
      let count = Double(data.train.labels.count { $0 == label })
      for pixel in 0..<size { means[label][pixel] /= count }
    }
    var right = 0
    for (image, label) in data.test.labels.enumerated() {
      let distances = means.map { mean in
        (0..<size).reduce(0.0) { sum, pixel in
          let difference = Double(data.test.pixels[image * size + pixel]) - mean[pixel]
          return sum + difference * difference
        }
      }
      if distances.firstIndex(of: distances.min()!) == Int(label) { right += 1 }
    }
    #expect((160..<360).contains(right))
  }
}
