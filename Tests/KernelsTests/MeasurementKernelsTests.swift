import Kernels
import Testing

@Suite struct MeasurementKernelsTests {
  private func check<Scalar: KernelScalar>(_ kernels: MeasurementKernels<Scalar>) {
    for count in awkwardSizes + [0, 64, 128, 200] {
      let source = (0..<count).map { Scalar($0) + 0.5 }
      var copy = [Scalar](repeating: -1, count: count + 1)
      kernels.streamCopy(source, &copy, count)
      #expect(Array(copy[..<count]) == source && copy[count] == -1)
    }
    // Every round does as many flops, and the chains stay bounded: they converge to 0.25/(1 − 0.5) each.
    var result: Scalar = -1
    let perRound = kernels.multiplyAddPeak(1, &result)
    #expect(perRound > 0 && perRound % 2 == 0)
    #expect(kernels.multiplyAddPeak(1000, &result) == 1000 * perRound)
    #expect(result == Scalar(perRound / 2) / 2)
  }

  @Test(arguments: supportedSets) func copyAndPeak(set: InstructionSet) {
    check(Float.kernels(for: set).measurement)
    check(Double.kernels(for: set).measurement)
  }
}
