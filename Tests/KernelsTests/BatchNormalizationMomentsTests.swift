import KernelInterface
import Kernels
import ReferenceKernels
import Testing

/// Mean, what its rounding left over, and variance of each column.
private struct Moments<Scalar: KernelScalar> {
  var mean: [Scalar]
  var meanLow: [Scalar]
  var variance: [Scalar]

  init(_ set: InstructionSet, _ x: MatrixView<Scalar>) {
    mean = [Scalar](repeating: .nan, count: x.columns)
    (meanLow, variance) = (mean, mean)
    var workspace = [Double](repeating: .nan, count: 6 * x.columns)
    Scalar.kernels(for: set).batchNormalization.moments(x, &mean, &meanLow, &variance, &workspace)
  }
}

/// Columns whose shift lies far from what it is subtracted from: a block's eight rows, or the block before it, elsewhere.
private enum UnevenColumn: CaseIterable {
  case sorted, alternatingBlocks, lateStep, outliersFirst, outlierBlock

  /// Noise of deviation 1, some of it raised by `height`; sorted: of deviation `height`.
  func values(_ rows: Int, height: Double, _ numbers: inout TestNumbers) -> [Double] {
    let noise = (0..<rows).map { _ in numbers.normal() }
    func raised(_ isHigh: (Int) -> Bool) -> [Double] { noise.indices.map { noise[$0] + (isHigh($0) ? height : 0) } }
    return switch self {
    case .sorted: noise.map { $0 * height }.sorted()
    case .alternatingBlocks: raised { $0 / 64 % 2 == 1 }
    case .lateStep: raised { $0 >= rows - rows / 3 }
    case .outliersFirst: raised { $0 < 8 }
    case .outlierBlock: raised { $0 / 64 == 3 }
    }
  }

  /// The largest error of a variance, in ulp.
  ///
  /// A block's squares are added up in 19 roundings of half a unit; up to four times what is left may cancel. Sorted rows
  /// have their mean in the middle.
  var limit: Double { self == .sorted ? 4 : 4 * 19.0.squareRoot() / 2 }
}

@Suite("Moments of columns")
struct BatchNormalizationMomentsTests {
  @Test(arguments: supportedSets)
  func unevenColumnsKeepTheirVariance(set: InstructionSet) {
    for rows in [32, 60, 64, 128, 1000, 1090, 4096] {
      for kind in UnevenColumn.allCases {
        for (offset, height) in [(0.0, 16.0), (1e3, 3), (1e6, 1e3)] {
          var numbers = TestNumbers(UInt64(rows))
          let columns = (0..<64).map { _ in kind.values(rows, height: height, &numbers) }
          let x = TestMatrix<Float>(rows, 64, extra: 0) { row, column in Float(offset + columns[column][row]) }
          let x64 = x.inDouble
          var mean = [Double](repeating: 0, count: 64)
          var variance = mean
          ReferenceKernels.moments(x64.view, mean: &mean, variance: &variance)
          let ulps = zip(Moments(set, x.view).variance, variance).map { ulpError($0, $1) }.max() ?? .infinity
          print("\(rows) rows, \(kind) by \(height), offset \(offset) \(set): variance \(ulps) ulp")
          #expect(ulps <= kind.limit)
        }
      }
    }
  }

  /// Panels that come from memory are summed in another way than those of a few columns of them.
  @Test(arguments: supportedSets)
  func largeMatricesGiveTheBitsOfTheirColumns(set: InstructionSet) {
    largeMatrixGivesTheBitsOfItsColumns(Float.self, set, rows: 16_700, columns: 264)
    largeMatrixGivesTheBitsOfItsColumns(Double.self, set, rows: 16_420, columns: 132)
  }

  private func largeMatrixGivesTheBitsOfItsColumns<Scalar: KernelScalar>(
    _ type: Scalar.Type, _ set: InstructionSet, rows: Int, columns: Int
  ) {
    // Every seventh column jumps between blocks, so that some are summed again.
    let x = TestMatrix<Scalar>(rows, columns, extra: 0) { row, column in
      let noise = Double((row &* 7919 &+ column &* 104_729) % 1009) / 504.5 - 1
      return Scalar(noise + (column % 7 == 0 && row / 64 % 3 == 1 ? 50 : 0))
    }
    let whole = Moments(set, x.view)
    for slice in [0..<33, 100..<columns] {
      let part = Moments(set, x.view.columns(slice))
      #expect(part.mean == Array(whole.mean[slice]))
      #expect(part.meanLow == Array(whole.meanLow[slice]))
      #expect(part.variance == Array(whole.variance[slice]))
    }
  }
}
