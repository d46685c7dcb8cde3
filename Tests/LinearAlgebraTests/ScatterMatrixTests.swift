import LinearAlgebra
import Testing

@Suite struct ScatterMatrixTests {
  // 256 rows are a block: one row, just below, at and above one and two blocks.
  @Test(arguments: [(1, 3), (7, 1), (255, 7), (256, 17), (257, 5), (1000, 16)])
  func momentsMatchTheDefinition(rows: Int, features: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      // An offset a thousand times the spread: sums of squares that are not centred would lose 20 bits.
      let data = gaussianTensor([rows, features], seed: 41, as: type) + 1000
      var visited: [Int] = []
      var total = [Double](repeating: 0, count: features)
      let moments = try ScatterMatrix(data) { row, centred in
        visited.append(row)
        for index in 0..<features { total[index] += centred[index] }
      }
      #expect(moments.rows == rows)
      #expect(visited == Array(0..<rows))
      // A sum of n terms of size 1000 is off by n·1000·ulp at most, and its quotient by n by 1000·n·ulp/n of 1000.
      let meanTolerance = Double(rows + 1) * 1000 * Double.ulpOfOne
      for index in 0..<features {
        var mean = 0.0
        for row in 0..<rows { mean += Double(data[row, index]) / Double(rows) }
        #expect(abs(moments.means[index] - mean) <= 2 * meanTolerance)
        #expect(abs(total[index]) <= Double(rows) * 2 * meanTolerance)
      }
      for i in 0..<features {
        for j in 0..<features {
          var (expected, magnitude) = (0.0, 0.0)
          for row in 0..<rows {
            let term = (Double(data[row, i]) - moments.means[i]) * (Double(data[row, j]) - moments.means[j])
            expected += term
            magnitude += abs(term)
          }
          // Sums of the same n products in two orders.
          #expect(abs(moments.scatter[i, j] - expected) <= Double(rows + 1) * Double.ulpOfOne * magnitude)
          #expect(moments.scatter[i, j] == moments.scatter[j, i])
        }
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func badDataAreRefused() {
    var data = Tensor<Float>.zeros([300, 4])
    data[299, 2] = .nan
    #expect(
      throws: LAPACKError.notFinite(operation: "ScatterMatrix", argument: "the data", row: 299, column: 2)
    ) { try ScatterMatrix(data) }
    #expect(throws: LAPACKError.empty(operation: "ScatterMatrix", shape: [0, 4])) {
      try ScatterMatrix(Tensor<Float>.zeros([0, 4]))
    }
    #expect(throws: LAPACKError.self) { try ScatterMatrix(Tensor<Float>.zeros([4])) }
  }

  @Test(arguments: [1, 255, 256, 257, 600])
  func centredMapsMatchTheDefinition(rows: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      let (features, outputs) = (17, 7)
      let data = gaussianTensor([rows, features], seed: 42, as: type) + 1000
      let means = Tensor<Double>(shape: [features], repeating: 1000.25)
      let matrix = gaussianTensor([features, outputs], seed: 43, as: Double.self)
      let offset = gaussianTensor([outputs], seed: 44, as: Double.self)
      let map = try CentredLinearMap<Scalar>(means: means, matrix: matrix, offset: offset)
      let result = try map(data)
      #expect(result.shape == [rows, outputs])
      for row in 0..<rows {
        for output in 0..<outputs {
          var (expected, magnitude) = (offset[output], abs(offset[output]))
          for index in 0..<features {
            let term = (Double(data[row, index]) - 1000.25) * matrix[index, output]
            expected += term
            magnitude += abs(term)
          }
          // A sum of 18 terms, in each of which the centred feature and the matrix were rounded before.
          let tolerance = Double(features + 3) * Double(Scalar.ulpOfOne) * magnitude
          #expect(abs(Double(result[row, output]) - expected) <= tolerance)
        }
      }
      #expect(try map(Tensor<Scalar>.zeros([0, features])).shape == [0, outputs])
      #expect(throws: TensorError.self) { try map(Tensor<Scalar>.zeros([2, features + 1])) }
      #expect(throws: TensorError.self) { try map(Tensor<Scalar>.zeros([features])) }
      #expect(throws: TensorError.self) { try CentredLinearMap<Scalar>(means: offset, matrix: matrix) }
      #expect(throws: TensorError.self) { try CentredLinearMap<Scalar>(means: means, matrix: matrix, offset: means) }
    }
    try check(Float.self)
    try check(Double.self)
  }
}
