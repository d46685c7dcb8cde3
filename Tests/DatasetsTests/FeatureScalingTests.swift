import Datasets
import Foundation
import LinearAlgebra
import RandomNumbers
import Testing

@Suite struct FeatureScalingTests {
  private func images(_ count: Int, seed: UInt64) throws -> ImageDataset {
    var random = Philox(seed: seed)
    var pixels = (0..<count * 6).map { _ in UInt8(random.nextInteger(below: 200)) }
    for image in 0..<count { pixels[image * 6 + 2] = 77 }
    return try ImageDataset(
      pixels: pixels, labels: [Int32](repeating: 0, count: count), height: 2, width: 3)
  }

  /// Mean and population variance by the textbook, in two passes.
  private func moments(_ values: [Double]) -> (mean: Double, variance: Double) {
    let mean = values.reduce(0, +) / Double(values.count)
    return (mean, values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count))
  }

  @Test(arguments: [1, 7, 31, 1000]) func pixelStatisticsAreThoseOfTheTextbook(count: Int) throws {
    let data = try images(count, seed: UInt64(count))
    let standard = try StandardScaler(fitting: data, scope: .perFeature)
    let minMax = try MinMaxScaler(fitting: data, scope: .perFeature)
    // A sum of n terms and its division round by at most n ulp of the result (2⁻⁵²); a square root halves that.
    let tolerance = Double(count + 4) * 0x1p-52
    for column in 0..<6 {
      let values = (0..<count).map { Double(data.pixels[$0 * 6 + column]) }
      let expected = moments(values)
      #expect(abs(standard.mean[column] - expected.mean) <= tolerance * 255)
      #expect(abs(standard.standardDeviation[column] - expected.variance.squareRoot()) <= tolerance * 255)
      #expect(minMax.minimum[column] == values.min() && minMax.maximum[column] == values.max())
    }
    let global = try StandardScaler(fitting: data)
    let all = moments(data.pixels.map { Double($0) })
    #expect(abs(global.mean[0] - all.mean) <= 6 * tolerance * 255)
    #expect(abs(global.standardDeviation[0] - all.variance.squareRoot()) <= 6 * tolerance * 255)
  }

  @Test func pixelSumsAreExactBeyondOneBlock() throws {
    // 70,000 rows of 255 overflow 32 bits of squares; the mean must be 255 and the deviation 0 to the bit.
    let data = try ImageDataset(
      pixels: [UInt8](repeating: 255, count: 70_000), labels: [Int32](repeating: 0, count: 70_000), height: 1, width: 1)
    let scaler = try StandardScaler(fitting: data)
    #expect(scaler.mean == [255] && scaler.standardDeviation == [0])
  }

  @Test func scaledPixelsFillTheRangeOrStandardize() throws {
    let data = try images(500, seed: 2)
    let minMax = try MinMaxScaler(fitting: data, scope: .perFeature, range: -1...1).scaling.pixelScaling
    let standard = try StandardScaler(fitting: data, scope: .perFeature).scaling.pixelScaling
    for column in 0..<6 {
      let bytes = (0..<500).map { data.pixels[$0 * 6 + column] }
      let scaled = bytes.map { minMax($0, feature: column) }
      let standardized = moments(bytes.map { standard($0, feature: column) })
      // x · scale + offset rounds three times at magnitudes below 255 / deviation < 8.
      let rounding = 8 * 4 * 0x1p-52
      if column == 2 {
        // The constant feature: the low end of the range, and zero.
        #expect(scaled.allSatisfy { $0 == -1 } && standardized.mean == 0 && standardized.variance == 0)
      } else {
        #expect(abs(scaled.min()! + 1) <= rounding && abs(scaled.max()! - 1) <= rounding)
        #expect(abs(standardized.mean) <= 500 * rounding && abs(standardized.variance - 1) <= 500 * rounding)
      }
    }
  }

  @Test func theDefaultScalingIsUnit() throws {
    #expect(PixelScaling.unit(255, feature: 3) == 1 && PixelScaling.unit(0, feature: 0) == 0)
    let scaling = try MinMaxScaler(
      fitting: ImageDataset(pixels: [0, 255], labels: [0], height: 1, width: 2)
    ).scaling.pixelScaling
    #expect(scaling == .unit)
  }

  // MARK: Tensors

  @Test(arguments: [0, 1e6]) func tensorRowsStandardize(offset: Double) throws {
    var random = Philox(seed: 5)
    let rows = 1000
    let data = Tensor<Double>(shape: [rows, 3]) { index in
      index % 3 == 1 ? 0.1 : offset + random.nextNormal() * Double(1 + index % 3)
    }
    let scaler = try StandardScaler(fitting: data)
    let scaled = try scaler.scaling.apply(to: data)
    let restored = try scaler.scaling.invert(scaled)
    // x · scale + offset rounds at the magnitude of x · scale.
    let rounding = 8 * (offset + 8) * 0x1p-52
    for column in [0, 2] {
      let result = moments((0..<rows).map { scaled[$0, column] })
      #expect(abs(result.mean) <= rounding && abs(result.variance - 1) <= 2 * rounding + Double(rows) * 0x1p-52)
    }
    #expect(scaler.standardDeviation[1] == 0 && scaler.mean[1] == 0.1)
    #expect((0..<rows).allSatisfy { scaled[$0, 1] == 0 })
    for (x, y) in zip(data.scalars, restored.scalars) { #expect(abs(x - y) <= 3 * rounding) }
  }

  @Test func floatTensorsRoundOnce() throws {
    let data = try Tensor<Float>([[1, 10], [2, 30], [4, 20]])
    let scaled = try MinMaxScaler(fitting: data).scaling.apply(to: data)
    #expect(scaled.scalars == [0, 0, Float(1.0 / 3), 1, 1, 0.5])
    let global = try MinMaxScaler(fitting: data, scope: .global)
    #expect(global.minimum == [1] && global.maximum == [30])
    #expect(try global.scaling.apply(to: data)[2, 1] == Float(19.0 / 29))
  }

  @Test func testDataIsScaledByTheTrainingDatasFit() throws {
    let scaling = try MinMaxScaler(fitting: Tensor<Double>([[0, 0], [2, 4]])).scaling
    #expect(try scaling.apply(to: Tensor<Double>([[4, -4]])).scalars == [2, -1])
  }

  @Test func badDataIsRefused() throws {
    let empty = try ImageDataset(pixels: [], labels: [], height: 1, width: 1)
    #expect(throws: DatasetError.self) { try StandardScaler(fitting: empty) }
    #expect(throws: DatasetError.self) { try MinMaxScaler(fitting: Tensor<Float>.zeros([0, 3])) }
    let error = #expect(throws: DatasetError.self) {
      try StandardScaler(fitting: Tensor<Double>([[1, 2], [3, .nan]]))
    }
    #expect(error?.description.contains("row 1, feature 1") == true)
    #expect(throws: DatasetError.self) { try MinMaxScaler(fitting: Tensor<Double>([[-1e308], [1e308]])) }
    let data = try Tensor<Double>([[1, 2], [3, 4]])
    #expect(throws: DatasetError.self) { try MinMaxScaler(fitting: data, range: 1...1) }
    let scaling = try StandardScaler(fitting: data).scaling
    #expect(throws: DatasetError.self) { try scaling.apply(to: Tensor<Double>([[1, 2, 3]])) }
  }
}
