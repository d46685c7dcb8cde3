import Foundation
import NeuralNetworks
import RandomNumbers
import Testing
import Training

@Suite("Damaged model files")
struct ModelFileRobustnessTests {
  @Test("A damaged model file is refused with a typed error, or loads; it never crashes")
  func mutations() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lamina-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("model.safetensors").path
    let model = Sequential(seed: 1) {
      Dense(5, activation: .leakyReLU(), kernelInitializer: .orthogonal())
      BatchNormalization()
      Dropout(0.25)
      Dense(3, activation: .softmax)
    }
    try model.build(inputShape: [4])
    try model.save(to: path)
    let sound = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let header = 8 + sound[0..<8].enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }

    var generator = Philox(seed: 7)
    var (loaded, refused) = (0, 0)
    for round in 0..<2_000 {
      var bytes = sound
      // Most damage goes into the header: the layers are described there.
      let end = round % 8 == 0 ? bytes.count : header
      for _ in 0...generator.nextInteger(below: 3) {
        let place = generator.nextInteger(below: end)
        // A digit for a digit changes numbers and leaves the text well formed.
        let isDigit = (48...57).contains(bytes[place])
        bytes[place] = isDigit ? UInt8(48 + generator.nextInteger(below: 10)) : UInt8(generator.nextInteger(below: 256))
      }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      do {
        let damaged: Sequential<Float> = try ModelFile(contentsOf: path).makeModel()
        #expect(damaged.isBuilt)
        loaded += 1
      } catch is SafetensorsError {
        refused += 1
      } catch is ModelFileError {
        refused += 1
      } catch is ModelError {
        refused += 1
      }
    }
    #expect(loaded > 0 && refused > 0)
  }
}
