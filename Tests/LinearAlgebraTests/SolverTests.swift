import LinearAlgebra
import RandomNumbers
import Testing

@Suite struct SolverTests {
  @Test(arguments: [1, 2, 7, 16, 33, 65])
  func generalSystems(n: Int) throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      for a in [gaussianTensor([n, n], seed: 21, as: type), hilbertMatrix(min(n, 7), as: type)] {
        let size = a.shape[0]
        let b = gaussianTensor([size, 3], seed: 22, as: type)
        let x = try solve(a, b)
        // The computed X solves (A + ΔA)X = B with |ΔA| ≤ 3n·u·|L||U| (Higham, theorem 9.4), however A is conditioned;
        // with partial pivoting |L||U| stays near |A|.
        let unit = 3 * Double(size) * Double(Scalar.ulpOfOne) * Double(try norm2(a))
        #expect(try residual(a, x, minus: b) <= unit * norm2(Tensor<Double>(x)))

        let column = Tensor(shape: [size]) { b[$0, 1] }
        let solution = try solve(a, column)
        #expect(solution.shape == [size])
        let columnSolution = try solution.reshaped(to: [size, 1])
        #expect(
          try residual(a, columnSolution, minus: column.reshaped(to: [size, 1]))
            <= unit * norm2(Tensor<Double>(solution)))

        let inverted = try inverse(a)
        #expect(try residual(a, inverted, minus: .identity(size)) <= unit * norm2(Tensor<Double>(inverted)))
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test(arguments: [1, 2, 7, 16, 33, 65])
  func positiveDefiniteSystems(n: Int) throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      let g = gaussianTensor([n, n], seed: 23, as: type)
      let a = try matmul(g, g, transposeB: true) + Tensor<Scalar>.identity(n)
      let b = gaussianTensor([n, 2], seed: 24, as: type)
      let factored = try CholeskyDecomposition(a)
      let x = try factored.solve(b)
      // |ΔA| ≤ (3n + 1)·u·|L||Lᵀ| (Higham, theorem 10.4), whose norm is at most ‖L‖² = trace A.
      let trace = (0..<n).map { Double(a[$0, $0]) }.reduce(0, +)
      let unit = Double(3 * n + 1) * Double(Scalar.ulpOfOne) * trace
      #expect(try residual(a, x, minus: b) <= unit * norm2(Tensor<Double>(x)))
      #expect(try factored.solve(b.reshaped(to: [2 * n]).rows(0..<n)).shape == [n])
      #expect(throws: LAPACKError.self) { try factored.solve(Tensor<Scalar>.zeros([n + 1])) }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func singularSystemsAreRefused() throws {
    #expect(throws: LAPACKError.singular(column: 1)) {
      try solve(Tensor<Float>([[1, 2], [2, 4]]), Tensor(shape: [2], scalars: [1, 1]))
    }
    #expect(throws: LAPACKError.singular(column: 2)) {
      try inverse(Tensor<Double>([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    }
    let identity = Tensor<Double>.identity(3)
    #expect(throws: LAPACKError.self) { try solve(identity, Tensor<Double>.zeros([4])) }
    #expect(throws: LAPACKError.self) { try solve(identity, Tensor<Double>.zeros([3, 1, 1])) }
    #expect(throws: LAPACKError.empty(operation: "solve", shape: [3, 0])) { try solve(identity, .zeros([3, 0])) }
    #expect(
      throws: LAPACKError.notFinite(operation: "solve", argument: "the right-hand sides", row: 2, column: 0)
    ) { try solve(identity, Tensor(shape: [3], scalars: [0, 1, .nan])) }
  }

  @Test func leastSquares() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      for a in try matricesToDecompose(type) where a != .zeros(a.shape) {
        let (m, n) = (a.shape[0], a.shape[1])
        let b = gaussianTensor([m, 2], seed: 25, as: type)
        let found = try LeastSquares(a, b)
        let decomposition = try SingularValueDecomposition(a)
        #expect(found.solution.shape == [n, 2])
        #expect(found.rank == decomposition.rank())

        // The residual of the minimum is orthogonal to the columns of A. Backward stability leaves
        // backwardError·‖A‖·(‖A‖‖X‖ + ‖B‖); cutting off singular values up to max(m, n)·ulp adds as much again.
        let (wideA, wideX, wideB) = (Tensor<Double>(a), Tensor<Double>(found.solution), Tensor<Double>(b))
        let rest = try matmul(wideA, wideX) - wideB
        let (normA, normX) = (try norm2(wideA), try norm2(wideX))
        let bound = 2 * backwardError(m, n, type) * normA * (normA * normX + (try norm2(wideB)))
        #expect(try norm2(matmul(wideA, rest, transposeA: true)) <= bound)

        // Of least norm: X has no part outside the space of the right singular vectors that count. That space is off
        // by backwardError·‖A‖ over its smallest singular value.
        let vectors = Tensor<Double>(decomposition.vTransposed.rows(0..<found.rank))
        let inside = try matmul(vectors, matmul(vectors, wideX), transposeA: true)
        let gap = normA / Double(decomposition.singularValues[found.rank - 1])
        #expect(try distance(inside, wideX) <= 2 * backwardError(m, n, type) * gap * normX)
      }
      let zero = try LeastSquares(Tensor<Scalar>.zeros([3, 2]), Tensor(shape: [3], repeating: 1))
      #expect(zero.rank == 0)
      #expect(zero.solution.scalars == [0, 0])
      let cut = try LeastSquares(
        Tensor<Scalar>([[1, 0], [0, 0.001]]), Tensor(shape: [2], scalars: [2, 3]), relativeTolerance: 0.01)
      #expect(cut.rank == 1)
      #expect(cut.solution.scalars == [2, 0])
      #expect(throws: LAPACKError.invalidTolerance(operation: "LeastSquares", value: -1)) {
        try LeastSquares(Tensor<Scalar>.identity(2), Tensor(shape: [2], repeating: 1), relativeTolerance: -1)
      }
      #expect(throws: LAPACKError.self) { try LeastSquares(Tensor<Scalar>.zeros([3, 2]), Tensor<Scalar>.zeros([2])) }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test(arguments: [(1, 1), (2, 2), (7, 3), (3, 7), (65, 65), (784, 10), (16, 33)])
  func orthogonalMatrices(rows: Int, columns: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      var generator = Philox(seed: 31)
      let q = try orthogonalMatrix(rows: rows, columns: columns, as: type) { generator.nextNormal() }
      #expect(q.shape == [rows, columns])
      #expect(try orthogonalityDefect(q, rows: rows < columns) <= 1)

      // With the signs fixed, the triangle that belongs to Q has a positive diagonal.
      let normal = gaussianTensor([max(rows, columns), min(rows, columns)], seed: 31, as: Double.self)
      let tall = Tensor<Double>(rows < columns ? try q.transposed() : q)
      let r = try matmul(tall, normal, transposeA: true)
      let tolerance = try backwardError(rows, columns, type) * norm2(normal)
      for row in 0..<r.shape[0] {
        #expect(r[row, row] > 0)
        for column in 0..<row { #expect(abs(r[row, column]) <= tolerance) }
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func orthogonalMatricesFavourNoSign() throws {
    var generator = Philox(seed: 32)
    let firsts: [Double] = try (0..<400).map { _ in
      try orthogonalMatrix(rows: 3, columns: 3) { generator.nextNormal() }[0, 0]
    }
    // Uniform over the sphere: mean 0 and variance 1/3 in each element, so 400 of them lie within 5 deviations.
    let mean = firsts.reduce(0, +) / 400
    let deviation = (1.0 / 3 / 400).squareRoot()
    #expect(abs(mean) <= 5 * deviation)
    #expect(throws: LAPACKError.empty(operation: "QRDecomposition", shape: [3, 0])) {
      let _: Tensor<Float> = try orthogonalMatrix(rows: 3, columns: 0) { 1 }
    }
  }
}
