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
    try expectSameBits([units], samples: 60, batchSize: 25)
  }

  /// Layers whose products are made of split numbers where the CPU has them, and a last batch too small for that.
  @Test("Threads do not change a bit of wide layers", arguments: [[256, 270], [500, 300]])
  func wideLayers(units: [Int]) throws {
    try expectSameBits(units, samples: 250, batchSize: 110)
  }

  /// Holds weights trained by teams of two and three against those of one thread.
  private func expectSameBits(_ units: [Int], samples count: Int, batchSize: Int) throws {
    let inputs = Tensor<Float>(shape: [count, 300]) { Float(($0 * 7919) % 1000) / 500 - 1 }
    let samples = try Samples(inputs, labels: (0..<count).map { $0 % 3 })
    func weights(_ threads: Int) throws -> String {
      var layers: [any Layer] = []
      for width in units { layers += [Dense(width, activation: .relu), BatchNormalization()] as [any Layer] }
      let model = Sequential<Float>(seed: 4, layers: layers + [Dense(3, activation: .softmax)])
      try model.compile(optimizer: Adam(), loss: .sparseCategoricalCrossEntropy(), threads: threads)
      try model.build(inputShape: [300])
      try model.fit(samples, epochs: 3, batchSize: batchSize, verbose: .silent)
      return try model.weightsSHA256()
    }
    let one = try weights(1)
    #expect(try weights(2) == one)
    #expect(try weights(3) == one)
  }
}
