import Kernels
import Testing

@testable import Benchmarks

@Suite struct KernelSelfTestTests {
  /// The reductions of this CPU, which a test may spoil.
  private func reductions() throws -> KernelTable<Float> {
    let table = KernelTable<Float>(instructionSet: "spoilt")
    let kernels = try Float.kernels().reductions
    table.reductions.columnSums = kernels.columnSums
    table.reductions.sumOfSquares = kernels.sumOfSquares
    table.reductions.allFinite = kernels.allFinite
    table.reductions.addScaled = kernels.addScaled
    return table
  }

  private func failures(_ table: KernelTable<Float>) -> [String] {
    ScratchMemory.scope {
      var test = KernelSelfTest(table: table)
      test.testReductions()
      return test.results.filter { !$0.ok }.map(\.kernel)
    }
  }

  @Test func soundKernelsPass() throws { #expect(failures(try reductions()).isEmpty) }

  @Test func wrongNumbersAreFound() throws {
    let table = try reductions()
    let columnSums = try Float.kernels().reductions.columnSums!
    table.reductions.columnSums = { x, sums in
      columnSums(x, sums)
      sums[x.columns - 1] *= 1.001
    }
    #expect(failures(table) == ["reductions.columnSums"])
  }

  @Test func numbersThatAreNoneAreFound() throws {
    let table = try reductions()
    table.reductions.addScaled = { _, _, y, count in y[count / 2] = .nan }
    #expect(failures(table) == ["reductions.addScaled"])
  }

  @Test func wrongAnswersAreFound() throws {
    let table = try reductions()
    table.reductions.allFinite = { _, _ in true }
    #expect(failures(table) == ["reductions.allFinite"])
  }
}
