import Kernels
import RandomNumbers
import ReferenceKernels
import Testing

@Suite struct GatheringKernelsTests {
  private func check<S: KernelScalar>(_ table: GatheringKernels<S>) {
    for columns in awkwardSizes {
      var random = Philox(seed: 11, stream: UInt64(columns))
      let rows = 9
      // Exactly as long as its rows: a kernel that reads past the last would leave the allocation.
      let bytes = (0..<rows * columns).map { _ in UInt8(random.nextInteger(below: 256)) }
      let scalars = bytes.map { S(Double($0) - 100.5) }
      let indices: [Int32] = [8, 0, 3, 3, 7, 1, 8, 2, 6, 5, 4]
      let scale = PaddedMatrix<S>(1, columns) { _, _ in random.nextNormal() }
      let offset = PaddedMatrix<S>(1, columns) { _, _ in random.nextNormal() }
      let y = PaddedMatrix<S>(indices.count, columns)
      let expected = PaddedMatrix<Double>(indices.count, columns)

      // A product, a sum and the rounding of scale and offset: at most 4 units of the terms.
      func compare(_ what: String, _ terms: (Int, Int) -> Double) {
        let magnitudes = PaddedMatrix<Double>(indices.count, columns, terms)
        expectClose(y.elements, expected.elements, units: 4, scale: magnitudes.elements, "\(what), \(columns)")
        #expect(y.paddingIsIntact)
      }
      table.bytes(bytes, indices, y.view, 1 / 255, -0.3)
      ReferenceKernels.gatherBytes(bytes, indices, expected.view, 1 / 255, -0.3)
      compare("bytes") { _, _ in 1.3 }

      table.bytesByColumn(bytes, indices, y.view, scale.pointer, offset.pointer)
      ReferenceKernels.gatherBytesByColumn(
        bytes, indices, expected.view, scale.widened.pointer, offset.widened.pointer)
      compare("bytes by column") { _, c in 255 * abs(Double(scale[0, c])) + abs(Double(offset[0, c])) }

      let wide = scalars.map { Double($0) }
      table.scalars(scalars, indices, y.view, scale.pointer, offset.pointer)
      ReferenceKernels.gatherScalars(wide, indices, expected.view, scale.widened.pointer, offset.widened.pointer)
      compare("scalars by column") { _, c in 255 * abs(Double(scale[0, c])) + abs(Double(offset[0, c])) }

      table.scalars(scalars, indices, y.view, nil, nil)
      ReferenceKernels.gatherScalars(wide, indices, expected.view, nil, nil)
      #expect(y.elements.map { Double($0) } == expected.elements)
      #expect(y.paddingIsIntact)
    }
  }

  @Test(arguments: supportedSets) func rowsMatchOracle(set: InstructionSet) {
    check(Float.kernels(for: set).gathering)
    check(Double.kernels(for: set).gathering)
  }

  @Test(arguments: supportedSets) func noRowsIsNoWork(set: InstructionSet) {
    let y = PaddedMatrix<Float>(0, 5)
    Float.kernels(for: set).gathering.bytes([], [], y.view, 1, 0)
    #expect(y.paddingIsIntact)
  }
}
