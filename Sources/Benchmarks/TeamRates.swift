import Kernels
import Lamina
import NeuralNetworks

/// What a team reaches with all its threads at work at once, measured on the spot: the bounds of a benchmark's row.
enum TeamRates {
  /// GFLOP/s of multiply-add chains in registers, in the widest instruction set of this CPU whatever the kernels use,
  /// because OpenBLAS chooses its own.
  static func peak<Scalar: NetworkScalar>(as type: Scalar.Type, threads: Int, seconds: Double) throws -> Double {
    let widest = InstructionSet.allCases.filter(\.isSupported).max() ?? .portable
    let kernel = Scalar.kernels(for: widest).measurement.multiplyAddPeak!
    let results = Places<Scalar>((0..<threads).map { _ in ScratchMemory.allocate(64) })
    let rounds = 20_000
    // Counted by a run of one round, before the team works.
    let flops = Double(kernel(1, results[0])) * Double(rounds * threads)
    let team = try MeasurementTeam(size: threads)
    let timing = Timing(seconds: seconds) { team.run { _ = kernel(rounds, results[$0]) } }
    return flops / timing.minimum * 1e-3
  }

  /// GB/s of a copy of `bytes`, each thread its part, both directions counted.
  static func copy<Scalar: NetworkScalar>(
    as type: Scalar.Type, bytes: Int, threads: Int, seconds: Double
  ) throws -> Double {
    let kernel = try Scalar.kernels().measurement.streamCopy!
    // Whole cache lines for each thread.
    let count = max(64, bytes / MemoryLayout<Scalar>.stride / threads / 64 * 64)
    let places = Places<Scalar>((0..<2 * threads).map { _ in ScratchMatrix<Scalar>(1, count).pointer })
    let team = try MeasurementTeam(size: threads)
    let timing = Timing(seconds: seconds) { team.run { kernel(places[2 * $0], places[2 * $0 + 1], count) } }
    return 2 * Double(count * threads * MemoryLayout<Scalar>.stride) / timing.minimum * 1e-3
  }

  /// Addresses that members of a team use each on its own.
  private struct Places<Scalar>: @unchecked Sendable {
    private let pointers: [UnsafeMutablePointer<Scalar>]
    init(_ pointers: [UnsafeMutablePointer<Scalar>]) { self.pointers = pointers }
    subscript(_ index: Int) -> UnsafeMutablePointer<Scalar> { pointers[index] }
  }
}
