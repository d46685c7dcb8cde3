import Testing

@testable import NeuralNetworks

/// What different members write lies apart.
@Suite("Spacing of members' memory")
struct MemberSpacingTests {
  @Test(
    "As much room as memory before it, from 4 to 16 KiB, and whole pairs of cache lines",
    arguments: [0, 1, 1000, 1025, 3000, 5000, 100_000])
  func spaced(count: Int) {
    let doubles = MemberSpacing.spaced(count, of: Double.self)
    #expect(doubles % 16 == 0)
    let room = (doubles - count) * 8
    #expect(room >= min(max(8 * count, 4096), 16384) && room < min(max(8 * count, 4096), 16384) + 128)
    #expect(doubles - count <= MemberSpacing.most(of: Double.self))
  }

  @Test("Tiles of parameters, state and products keep their distance")
  func tiles() throws {
    let network = try NetworkLayout(
      layers: [Dense(130, activation: .relu), BatchNormalization(), Dense(5)], inputShape: [40], precision: Float.self)
    let store = ParameterStore<Float>(records: network.records, stages: network.stages)
    #expect(network.stages[0].tileCount >= 2)
    for (first, second) in zip(store.regions[0], store.regions[0].dropFirst()) {
      #expect((second.lowerBound - first.upperBound) * 4 >= 4096)
    }
    let memory = try PlanMemory(network: network, store: store, capacity: 16)
    let products = memory.stages[0].tiles
    let bytes = 16 * products[0].product.stride * 4
    #expect(UnsafeRawPointer(products[1].product.base) - UnsafeRawPointer(products[0].product.base) >= bytes + 4096)
  }
}
