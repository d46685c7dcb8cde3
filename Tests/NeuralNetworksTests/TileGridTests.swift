import LinearAlgebra
import Testing
import Training

@testable import NeuralNetworks

/// How layers are cut into tiles.
@Suite("Tile grid")
struct TileGridTests {
  @Test("Tiles cover all columns in an even number of pieces of 64 at most, from multiples of 16 on")
  func boundaries() {
    for inputs in [0, 255, 256, 784] {
      for columns in 1...2100 {
        let boundaries = TileGrid.boundaries(columns: columns, inputs: inputs)
        #expect(boundaries.first == 0 && boundaries.last == columns)
        let widths = zip(boundaries, boundaries.dropFirst()).map { $1 - $0 }
        #expect(widths.allSatisfy { $0 > 0 && $0 <= TileGrid.width })
        #expect(boundaries.dropLast().allSatisfy { $0 % 16 == 0 })
        let isCut = columns >= (inputs >= 256 ? 17 : 48)
        #expect(isCut ? widths.count % 2 == 0 : widths.count == 1, "\(inputs) × \(columns)")
      }
    }
  }

  @Test("Threads do not change a bit of a narrow layer of many inputs", arguments: [17, 24, 40, 47])
  func narrowLayer(units: Int) throws {
    let inputs = Tensor<Float>(shape: [60, 300]) { Float(($0 * 7919) % 1000) / 500 - 1 }
    let samples = try Samples(inputs, labels: (0..<60).map { $0 % 3 })
    func weights(_ threads: Int) throws -> String {
      let model = Sequential<Float>(seed: 4) {
        Dense(units, activation: .relu)
        BatchNormalization()
        Dense(3, activation: .softmax)
      }
      try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(), threads: threads)
      try model.build(inputShape: [300])
      try model.fit(samples, epochs: 3, batchSize: 25, verbose: .silent)
      return try model.weightsSHA256()
    }
    let one = try weights(1)
    #expect(try weights(2) == one)
    #expect(try weights(3) == one)
  }
}
