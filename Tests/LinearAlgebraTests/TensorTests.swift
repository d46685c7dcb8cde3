import LinearAlgebra
import Testing

@Suite struct TensorTests {
  let counting = Tensor<Float>(shape: [2, 3, 4]) { Float($0) }

  @Test(arguments: [0, 1, 7, 16, 17, 1000])
  func memoryIsAlignedToACacheLine(count: Int) {
    let tensor = Tensor<Double>(shape: [count], repeating: 1)
    tensor.withUnsafeBufferPointer { #expect(Int(bitPattern: $0.baseAddress) % 64 == 0) }
    let buffer = AlignedBuffer<Float>(zeroedCapacity: count)
    #expect(Int(bitPattern: buffer.baseAddress) % 64 == 0)
    #expect((0..<count).allSatisfy { buffer.baseAddress[$0].bitPattern == 0 })
  }

  @Test func elementsAreRowMajor() {
    #expect(counting.count == 24)
    #expect(counting.rank == 3)
    for i in 0..<2 {
      for j in 0..<3 {
        for k in 0..<4 { #expect(counting[i, j, k] == Float((i * 3 + j) * 4 + k)) }
      }
    }
    let matrix = Tensor<Float>(shape: [5, 7]) { Float($0) }
    #expect(matrix[3, 2] == 23)
    #expect(Tensor<Float>(shape: [3]) { Float($0) }[2] == 2)
  }

  @Test func aCopyKeepsItsValues() {
    var copy = counting
    let address = counting.withUnsafeBufferPointer { Int(bitPattern: $0.baseAddress) }
    #expect(copy.withUnsafeBufferPointer { Int(bitPattern: $0.baseAddress) } == address)
    copy[1, 2, 3] = -1
    #expect(counting[1, 2, 3] == 23)
    #expect(copy[1, 2, 3] == -1)
    let afterFirstWrite = copy.withUnsafeBufferPointer { Int(bitPattern: $0.baseAddress) }
    copy.withUnsafeMutableBufferPointer { $0[0] = 5 }
    #expect(copy.withUnsafeBufferPointer { Int(bitPattern: $0.baseAddress) } == afterFirstWrite)
    var matrix = Tensor<Float>.zeros([2, 2])
    let zeros = matrix
    matrix[0, 1] = 3
    #expect(zeros == Tensor(shape: [2, 2], repeating: 0))
    #expect(matrix.scalars == [0, 3, 0, 0])
  }

  @Test func wrongShapesAreRefused() throws {
    #expect(throws: TensorError.invalidShape([])) { try Tensor<Float>(shape: [], scalars: []) }
    #expect(throws: TensorError.invalidShape([2, -1])) { try Tensor<Float>(shape: [2, -1], scalars: []) }
    #expect(throws: TensorError.invalidShape([.max, 2])) { try Tensor<Float>(shape: [.max, 2], scalars: []) }
    // The zero must not hide that the other lengths overflow.
    #expect(throws: TensorError.invalidShape([.max, 2, 0])) { try Tensor<Float>(shape: [.max, 2, 0], scalars: []) }
    #expect(
      throws: TensorError.countMismatch(operation: "Tensor(shape:scalars:)", shape: [2, 2], expected: 4, found: 3)
    ) { try Tensor<Float>(shape: [2, 2], scalars: [1, 2, 3]) }
    #expect(throws: TensorError.raggedRows(row: 1, expected: 2, found: 1)) { try Tensor<Float>([[1, 2], [3]]) }
    #expect(
      throws: TensorError.countMismatch(operation: "reshaped(to:)", shape: [5], expected: 5, found: 24)
    ) { try counting.reshaped(to: [5]) }
    #expect(throws: TensorError.rankMismatch(operation: "transposed()", expected: 2, shape: [2, 3, 4])) {
      try counting.transposed()
    }
    #expect(throws: TensorError.axisOutOfRange(operation: "sum(axis:)", axis: 3, shape: [2, 3, 4])) {
      try counting.sum(axis: 3)
    }
    #expect(throws: TensorError.emptyAxis(operation: "mean(axis:)", axis: 0, shape: [0, 2])) {
      try Tensor<Float>.zeros([0, 2]).mean(axis: 0)
    }
    #expect(throws: TensorError.emptyAxis(operation: "argmaxAlongLastAxis()", axis: 1, shape: [2, 0])) {
      try Tensor<Float>.zeros([2, 0]).argmaxAlongLastAxis()
    }
    #expect(
      throws: TensorError.shapeMismatch(operation: "+", left: [2], right: [3], requirement: "give equal shapes")
    ) { try Tensor<Float>.zeros([2]) + Tensor<Float>.zeros([3]) }
  }

  @Test func reshapingAndSlicing() throws {
    let matrix = try counting.reshaped(to: [6, 4])
    #expect(matrix[5, 3] == 23)
    #expect(matrix.rows(1..<3).scalars == [4, 5, 6, 7, 8, 9, 10, 11])
    #expect(counting.rows(1..<2).shape == [1, 3, 4])
    #expect(matrix.rows(2..<2).shape == [0, 4])
    #expect(try Tensor<Float>([[1, 2], [3, 4], [5, 6]]).shape == [3, 2])
    #expect(try Tensor<Float>([]).shape == [0, 0])
  }

  @Test(arguments: [(1, 1), (7, 33), (33, 65), (0, 5), (100, 31)])
  func transposing(rows: Int, columns: Int) throws {
    let matrix = Tensor<Double>(shape: [rows, columns]) { Double($0) }
    let transposed = try matrix.transposed()
    #expect(transposed.shape == [columns, rows])
    for row in 0..<rows {
      for column in 0..<columns { #expect(transposed[column, row] == matrix[row, column]) }
    }
  }

  @Test func elementwiseArithmetic() throws {
    let a = try Tensor<Float>([[1, 2], [3, 4]])
    let b = try Tensor<Float>([[5, 6], [7, 8]])
    #expect(try a + b == Tensor([[6, 8], [10, 12]]))
    #expect(try a - b == Tensor([[-4, -4], [-4, -4]]))
    #expect(try a * b == Tensor([[5, 12], [21, 32]]))
    #expect(try 1 + a == Tensor([[2, 3], [4, 5]]))
    #expect(try a + 1 == Tensor([[2, 3], [4, 5]]))
    #expect(try 1 - a == Tensor([[0, -1], [-2, -3]]))
    #expect(try a - 1 == Tensor([[0, 1], [2, 3]]))
    #expect(try a * 2 == Tensor([[2, 4], [6, 8]]))
    #expect(try 2 * a == Tensor([[2, 4], [6, 8]]))
    #expect(try a / 2 == Tensor([[0.5, 1], [1.5, 2]]))
    #expect(try -a == Tensor([[-1, -2], [-3, -4]]))
    #expect(try a.map { Double($0) * 0.1 } == Tensor<Double>([[0.1, 0.2], [3 * 0.1, 0.4]]))
  }

  @Test func convertingTheScalar() {
    let doubles = Tensor<Double>(shape: [3]) { Double($0) + 0.1 }
    #expect(Tensor<Float>(doubles).scalars == [0.1, 1.1, 2.1])
    #expect(Tensor<Double>(Tensor<Float>(doubles)).scalars == [0.1, 1.1, 2.1].map { Double(Float($0)) })
  }

  @Test func sumsAndMeansAlongEveryAxis() throws {
    // Whole numbers below 2^24: every sum is exact.
    for axis in -3..<3 {
      var expected: [Float] = []
      let lengths = [2, 3, 4]
      let positive = (axis + 3) % 3
      let kept = [0, 1, 2].filter { $0 != positive }
      for i in 0..<lengths[kept[0]] {
        for j in 0..<lengths[kept[1]] {
          var sum: Float = 0
          for k in 0..<lengths[positive] {
            var index = [0, 0, 0]
            (index[kept[0]], index[kept[1]], index[positive]) = (i, j, k)
            sum += counting[index[0], index[1], index[2]]
          }
          expected.append(sum)
        }
      }
      let sums = try counting.sum(axis: axis)
      #expect(sums.scalars == expected)
      #expect(sums.shape == kept.map { lengths[$0] })
      #expect(try counting.mean(axis: axis).scalars == expected.map { $0 / Float(lengths[positive]) })
    }
    #expect(counting.sum() == 276)
    #expect(counting.mean() == 11.5)
    #expect(try Tensor<Float>(shape: [5], repeating: 2).sum(axis: 0) == Tensor(shape: [1], repeating: 10))
    #expect(try Tensor<Float>.zeros([0, 2]).sum(axis: 0).scalars == [0, 0])
  }

  @Test func sumsAreCarriedInDouble() throws {
    // In Float 2^24 + 1 is 2^24: a Float accumulator would lose every one of the ones.
    var scalars = [Float](repeating: 1, count: 1025)
    scalars[0] = 16_777_216
    let tensor = try Tensor(shape: [1025, 1], scalars: scalars)
    #expect(tensor.sum() == 16_778_240)
    #expect(try tensor.sum(axis: 0).scalars == [16_778_240])
  }

  @Test func argmaxTakesTheFirstAndSeesNaN() throws {
    let tensor = try Tensor<Float>([[1, 3, 3], [2, 1, 0], [1, .nan, 5], [.nan, 7, .nan], [-3, -2, -1]])
    #expect(try tensor.argmaxAlongLastAxis() == [1, 0, 1, 0, 2])
    #expect(try counting.argmaxAlongLastAxis() == [3, 3, 3, 3, 3, 3])
  }

  @Test func descriptionsAreReadable() throws {
    #expect("\(try Tensor<Float>([[1, 2], [3, 4]]))" == "Tensor<Float>[2, 2] [[1.0, 2.0],\n [3.0, 4.0]]")
    #expect(
      "\(Tensor<Double>(shape: [100]) { Double($0) })"
        == "Tensor<Double>[100] [0.0, 1.0, 2.0, …, 97.0, 98.0, 99.0]")
    #expect("\(Tensor<Float>(shape: [1000, 1000], repeating: 0))".count < 400)
    #expect("\(Tensor<Float>.zeros([0, 2]))" == "Tensor<Float>[0, 2] []")
  }

  @Test func indicesOutsideTheShapeStopTheProgram() async {
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3])[0, 3] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3])[2, 0] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3])[1] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2])[2] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3])[0, 0, 0] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3, 4])[0, -1, 0] }
    await #expect(processExitsWith: .failure) { _ = Tensor<Float>.zeros([2, 3]).rows(1..<3) }
  }

  @Test func everyErrorSaysWhatToDo() {
    let errors: [TensorError] = [
      .invalidShape([-1]), .countMismatch(operation: "f", shape: [2], expected: 2, found: 3),
      .raggedRows(row: 1, expected: 2, found: 3),
      .shapeMismatch(operation: "f", left: [1], right: [2], requirement: "give equal shapes"),
      .rankMismatch(operation: "f", expected: 2, shape: [1]), .axisOutOfRange(operation: "f", axis: 1, shape: [1]),
      .emptyAxis(operation: "f", axis: 0, shape: [0]), .tooLarge(operation: "f", shape: [9], limit: 8),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
    for error in errors {
      #expect(["give", "reshape", "change", "split"].contains { error.description.contains($0) })
    }
  }

  @Test func emptyShapesHoldNothing() {
    let empty = Tensor<Double>.zeros([3, 0, 2])
    #expect(empty.count == 0)
    #expect(empty.scalars == [])
    #expect(empty.sum() == 0)
    #expect(empty.mean().isNaN)
    #expect(Tensor<Float>.identity(3).scalars == [1, 0, 0, 0, 1, 0, 0, 0, 1])
  }
}
