import Kernels
import ReferenceKernels
import Testing

@testable import NeuralNetworks

/// The three products of a dense layer against textbook loops in Double, and on teams of one and two.
@Suite struct DenseLayerWorkTests {
  static let rows = Array(1...17) + [31, 33, 65, 130]
  static let layers = [(1, 1), (7, 5), (10, 64), (16, 17), (33, 100), (100, 100), (65, 130), (250, 31)]

  @Test(arguments: layers) func productsMeetTheOracle(outputs: Int, inputs: Int) throws {
    for rows in Self.rows {
      try check(Float.self, rows: rows, inputs: inputs, outputs: outputs)
      try check(Double.self, rows: rows, inputs: inputs, outputs: outputs)
    }
  }

  private func check<S: NetworkScalar>(_ type: S.Type, rows: Int, inputs: Int, outputs: Int) throws {
    var numbers = SplitMix(seed: UInt64(rows * 1_000_000 + inputs * 1_000 + outputs))
    func matrix(_ rows: Int, _ columns: Int) -> [Double] {
      (0..<rows * columns).map { _ in Double(S(numbers.symmetric())) }
    }
    let (x, w, z) = (matrix(rows, inputs), matrix(inputs, outputs), matrix(rows, outputs))
    let products: [(part: DenseLayerWork<S>.Part, depth: Int, exact: [Double], magnitude: [Double])] = [
      (.product, inputs, [], []), (.inputGradient, outputs, [], []), (.kernelGradient, rows, [], []),
    ].map { part, depth, _, _ in
      func product(_ f: (Double) -> Double) -> [Double] {
        let (x, w, z) = (x.map(f), w.map(f), z.map(f))
        return switch part {
        case .product: naive(rows, outputs, inputs) { x[$0 * inputs + $2] * w[$2 * outputs + $1] }
        case .inputGradient: naive(rows, inputs, outputs) { z[$0 * outputs + $2] * w[$1 * outputs + $2] }
        default: naive(inputs, outputs, rows) { x[$2 * inputs + $0] * z[$2 * outputs + $1] }
        }
      }
      return (part, depth, product { $0 }, product(abs))
    }
    var first: [[S]]?
    for threads in [1, 2] {
      let layer = try DenseLayerWork<S>(rows: rows, inputs: inputs, outputs: outputs, threads: threads)
      fill(layer.input, x)
      layer.setKernel { S(w[$0 * outputs + $1]) }
      fill(layer.outputGradient, z)
      var results: [[S]] = []
      for product in products {
        layer.run(product.part)
        let result: [S]
        switch product.part {
        case .product: result = elements(layer.output)
        case .inputGradient: result = elements(layer.inputGradient)
        default:
          let gradient = MatrixView<S>(
            base: .allocate(capacity: inputs * outputs), rows: inputs, columns: outputs)
          defer { gradient.base.deallocate() }
          layer.copyKernelGradient(into: gradient)
          result = elements(gradient)
        }
        // Each of a sum's terms rounds at most twice, and the oracle's in Double as often.
        let bound = Double(2 * product.depth + 2) * Double(S.ulpOfOne) / 2 * (S.self == Double.self ? 2 : 1)
        let isClose = result.indices.allSatisfy {
          abs(Double(result[$0]) - product.exact[$0]) <= bound * product.magnitude[$0]
        }
        #expect(isClose, "\(S.self), \(product.part), \(rows) rows, \(inputs) inputs, \(outputs) outputs")
        results.append(result)
      }
      // To the bit on any team.
      if let first { #expect(first == results, "\(S.self), \(rows) rows, \(inputs) × \(outputs)") }
      first = results
    }
  }

  private func naive(_ m: Int, _ n: Int, _ k: Int, _ term: (Int, Int, Int) -> Double) -> [Double] {
    (0..<m * n).map { place in (0..<k).reduce(0) { $0 + term(place / n, place % n, $1) } }
  }

  private func fill<S: NetworkScalar>(_ view: MatrixView<S>, _ values: [Double]) {
    for row in 0..<view.rows {
      for column in 0..<view.columns { view.base[row * view.stride + column] = S(values[row * view.columns + column]) }
    }
  }

  private func elements<S: NetworkScalar>(_ view: MatrixView<S>) -> [S] {
    (0..<view.rows).flatMap { row in (0..<view.columns).map { view.base[row * view.stride + $0] } }
  }
}

private struct SplitMix {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  /// Uniform in [−1, 1).
  mutating func symmetric() -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1
  }
}
