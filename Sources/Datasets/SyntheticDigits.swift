import Dispatch
import Foundation
import RandomNumbers

/// Grey 28×28 images of handwritten-looking digits, drawn by the program: data without a file.
///
/// Each image is one of several ways to write its digit, bent, slanted, rotated, scaled and shifted at random, and drawn
/// with a pen of random width, softness, pressure and ink on noisy paper. Image i of a seed is a pure function of (seed,
/// i), so any number of images can be asked for, in any order and on any number of threads. Training and test images come
/// from streams of random numbers that never meet. (Sines and cosines are the system's: another C library may round a few
/// grey values differently.)
///
/// Default sizes are those of MNIST. A linear classifier gets about 90 % of the test images right, a batch-normalized
/// 784-128-64-10 network about 99 %. Cost: about 11 µs an image on one processor core.
public struct SyntheticDigits: Sendable, Equatable {
  /// The side of an image in pixels.
  public static let side = 28

  /// The seed that decides every image.
  public let seed: UInt64

  /// The images of `seed`.
  public init(seed: UInt64 = 0) { self.seed = seed }

  /// The first `count` training images; a negative count is taken as 0.
  public func train(count: Int = 60_000) -> ImageDataset { draw(count, purpose: "synthetic digits, training") }

  /// The first `count` test images, drawn from another stream than the training images.
  public func test(count: Int = 10_000) -> ImageDataset { draw(count, purpose: "synthetic digits, test") }

  /// Training and test images together.
  public func data(trainCount: Int = 60_000, testCount: Int = 10_000) -> TrainTestData {
    TrainTestData(sameKind: train(count: trainCount), test(count: testCount))
  }

  private func draw(_ count: Int, purpose: StaticString) -> ImageDataset {
    let count = max(0, count)
    let size = SyntheticDigits.side * SyntheticDigits.side
    let block = 128
    var labels = [Int32](repeating: 0, count: count)
    let pixels = [UInt8](unsafeUninitializedCapacity: count * size) { pixels, filled in
      labels.withUnsafeMutableBufferPointer { labels in
        // Blocks write to rows of their own.
        nonisolated(unsafe) let pixels = pixels
        nonisolated(unsafe) let labels = labels
        DispatchQueue.concurrentPerform(iterations: (count + block - 1) / block) { index in
          let artist = DigitArtist()
          for image in index * block..<min(count, (index + 1) * block) {
            var random = Philox(seed: seed, purpose: purpose, index: UInt64(image))
            let target = UnsafeMutableBufferPointer(rebasing: pixels[image * size..<(image + 1) * size])
            labels[image] = artist.draw(into: target, random: &random)
          }
        }
      }
      filled = count * size
    }
    return ImageDataset(
      unchecked: pixels, labels: labels, height: SyntheticDigits.side, width: SyntheticDigits.side,
      classNames: StandardDataset.mnist.classNames)
  }
}
