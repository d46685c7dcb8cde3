import Kernels
import Testing

@Suite struct LayoutKernelsTests {
  private static let sizes = [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 65]

  private func expectTransposed<S: KernelScalar>(_ table: KernelTable<S>) {
    for rows in Self.sizes {
      for columns in Self.sizes {
        let x = TestMatrix<S>(rows, columns) { S($0 * 1000 + $1) }
        for asksAhead in [false, true] {
          let y = TestMatrix<S>(columns, rows)
          table.layout.transpose(x.view, y.view, asksAhead ? UnsafePointer(x.view.base) : nil)
          var wrong = 0
          for row in 0..<rows {
            for column in 0..<columns where y[column, row] != S(row * 1000 + column) { wrong += 1 }
          }
          #expect(wrong == 0, "\(table.instructionSet), \(rows) × \(columns)")
          #expect(y.guardsIntact, "\(table.instructionSet), \(rows) × \(columns)")
        }
      }
    }
  }

  @Test(arguments: supportedSets) func transposesEverySize(set: InstructionSet) {
    expectTransposed(Float.kernels(for: set))
    expectTransposed(Double.kernels(for: set))
  }
}
