import LinearAlgebra
import Testing

@Suite struct DecompositionTests {
  @Test func qr() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      for a in try matricesToDecompose(type) {
        let (m, n) = (a.shape[0], a.shape[1])
        let decomposition = try QRDecomposition(a)
        let (q, r) = (decomposition.q, decomposition.r)
        #expect(q.shape == [m, min(m, n)])
        #expect(r.shape == [min(m, n), n])
        #expect(try residual(q, r, minus: a) <= backwardError(m, n, type) * Double(try norm2(a)))
        #expect(try orthogonalityDefect(q) <= 1)
        for row in 0..<r.shape[0] {
          for column in 0..<row { #expect(r[row, column] == 0) }
        }
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func singularValues() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      for a in try matricesToDecompose(type) {
        let (m, n) = (a.shape[0], a.shape[1])
        let decomposition = try SingularValueDecomposition(a)
        let (u, values, v) = (decomposition.u, decomposition.singularValues, decomposition.vTransposed)
        #expect(u.shape == [m, min(m, n)])
        #expect(values.shape == [min(m, n)])
        #expect(v.shape == [min(m, n), n])
        let scaled = scalingColumns(u, by: values)
        #expect(try residual(scaled, v, minus: a) <= backwardError(m, n, type) * Double(try norm2(a)))
        #expect(try orthogonalityDefect(u) <= 1)
        #expect(try orthogonalityDefect(v, rows: true) <= 1)
        #expect(values.scalars == values.scalars.sorted(by: >))
        #expect(values.scalars.allSatisfy { $0 >= 0 })
      }
      #expect(try SingularValueDecomposition(lowRankMatrix(33, 16, rank: 5, seed: 9, as: type)).rank() == 5)
      #expect(try SingularValueDecomposition(gaussianTensor([7, 33], seed: 9, as: type)).rank() == 7)
      #expect(try SingularValueDecomposition(Tensor<Scalar>.zeros([3, 2])).rank() == 0)
      #expect(try SingularValueDecomposition(Tensor<Scalar>.zeros([3, 2])).conditionNumber == .infinity)
      let diagonal = try Tensor<Scalar>([[0, -3, 0], [0.5, 0, 0]])
      #expect(try SingularValueDecomposition(diagonal).singularValues.scalars == [3, 0.5])
      #expect(try SingularValueDecomposition(diagonal).rank(relativeTolerance: 0.2) == 1)
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func conditionNumberOfHilbertsMatrix() throws {
    // κ(H₅) = 4.766072502425e5 (known in closed form). The smallest singular value is off by backwardError·‖H‖ at
    // most, so the quotient by κ·backwardError of itself.
    let condition = try SingularValueDecomposition(hilbertMatrix(5, as: Double.self)).conditionNumber
    #expect(abs(condition / 4.766072502425e5 - 1) <= 4.77e5 * backwardError(5, 5, Double.self))
  }

  @Test func symmetricEigenvalues() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      var matrices = try [1, 2, 7, 16, 33, 65].map { try symmetrized(gaussianTensor([$0, $0], seed: 7, as: type)) }
      matrices.append(hilbertMatrix(12, as: type))
      matrices.append(try symmetrized(lowRankMatrix(16, 16, rank: 2, seed: 8, as: type)))
      matrices.append(.identity(7))
      matrices.append(.zeros([5, 5]))
      for a in matrices {
        let n = a.shape[0]
        let decomposition = try SymmetricEigendecomposition(a)
        let (values, vectors) = (decomposition.eigenvalues, decomposition.eigenvectors)
        let scaled = scalingColumns(vectors, by: values)
        let error = try residual(scaled, vectors, minus: a, transposeB: true)
        #expect(error <= backwardError(n, n, type) * Double(try norm2(a)))
        #expect(try orthogonalityDefect(vectors) <= 1)
        #expect(values.scalars == values.scalars.sorted())

        // What lies above the diagonal is not used.
        let lower = Tensor(shape: [n, n]) { $0 % n > $0 / n ? 99 : a[$0 / n, $0 % n] }
        #expect(try SymmetricEigendecomposition(lower).eigenvalues == values)
      }
      #expect(try SymmetricEigendecomposition(Tensor<Scalar>([[0, 0], [0, -2]])).eigenvalues.scalars == [-2, 0])
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func cholesky() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      var matrices = try [1, 2, 7, 16, 33, 65].map { n in
        let g = gaussianTensor([n, n], seed: 11, as: type)
        return try matmul(g, g, transposeB: true) + Tensor<Scalar>.identity(n)
      }
      matrices.append(hilbertMatrix(4, as: type))
      for a in matrices {
        let n = a.shape[0]
        let lower = try CholeskyDecomposition(a).lower
        // |A − LLᵀ| ≤ (n + 1)·u·|L||Lᵀ| elementwise (Higham, theorem 10.3), whose norm is at most ‖L‖² = trace A.
        let trace = (0..<n).map { Double(a[$0, $0]) }.reduce(0, +)
        #expect(
          try residual(lower, lower, minus: a, transposeB: true) <= Double((n + 1)) * Double(Scalar.ulpOfOne) * trace)
        for row in 0..<n {
          #expect(lower[row, row] > 0)
          for column in (row + 1)..<max(n, row + 1) { #expect(lower[row, column] == 0) }
        }
        let above = Tensor(shape: [n, n]) { $0 % n > $0 / n ? 99 : a[$0 / n, $0 % n] }
        #expect(try CholeskyDecomposition(above).lower == lower)
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func matricesThatAreNotPositiveDefiniteAreRefused() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      #expect(throws: LAPACKError.notPositiveDefinite(order: 1)) { try CholeskyDecomposition(Tensor<Scalar>([[-1]])) }
      #expect(throws: LAPACKError.notPositiveDefinite(order: 2)) {
        try CholeskyDecomposition(Tensor<Scalar>([[1, 2], [2, 1]]))
      }
      #expect(throws: LAPACKError.notPositiveDefinite(order: 3)) {
        try CholeskyDecomposition(Tensor<Scalar>([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func badInputIsRefusedWithItsPlace() throws {
    func check<Scalar: LAPACKScalar>(_ type: Scalar.Type) throws {
      let decompositions: [(String, (Tensor<Scalar>) throws -> Void)] = [
        ("QRDecomposition", { _ = try QRDecomposition($0) }),
        ("CholeskyDecomposition", { _ = try CholeskyDecomposition($0) }),
        ("SingularValueDecomposition", { _ = try SingularValueDecomposition($0) }),
        ("SymmetricEigendecomposition", { _ = try SymmetricEigendecomposition($0) }),
        ("LeastSquares", { _ = try LeastSquares($0, Tensor(shape: [$0.shape[0]], repeating: 1)) }),
        ("solve", { _ = try solve($0, Tensor(shape: [$0.shape[0]], repeating: 1)) }),
        ("inverse", { _ = try inverse($0) }),
      ]
      for (name, decompose) in decompositions {
        for value in [Scalar.nan, .infinity, -.infinity] {
          var matrix = Tensor<Scalar>.identity(17)
          matrix[13, 5] = value
          matrix[16, 2] = .nan
          #expect(throws: LAPACKError.notFinite(operation: name, argument: "the matrix", row: 13, column: 5)) {
            try decompose(matrix)
          }
        }
        #expect(throws: LAPACKError.empty(operation: name, shape: [3, 0])) { try decompose(.zeros([3, 0])) }
        #expect(throws: LAPACKError.shape(.rankMismatch(operation: name, expected: 2, shape: [4]))) {
          try decompose(.zeros([4]))
        }
        if ["CholeskyDecomposition", "SymmetricEigendecomposition", "solve", "inverse"].contains(name) {
          #expect(throws: LAPACKError.self) { try decompose(.zeros([3, 4])) }
        }
      }
      // Finite numbers whose sum overflows are no reason to refuse.
      let huge = Tensor<Scalar>(shape: [4, 4], repeating: .greatestFiniteMagnitude)
      #expect(huge.indexOfFirstNonFinite() == nil)
      var late = Tensor<Scalar>(shape: [70_000], repeating: 1)
      late[69_999] = .infinity
      #expect(late.indexOfFirstNonFinite() == 69_999)
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func infoBecomesATypedError() throws {
    try LAPACKError.check(0, "potrf") { .notPositiveDefinite(order: $0) }
    #expect(throws: LAPACKError.notPositiveDefinite(order: 4)) {
      try LAPACKError.check(4, "potrf") { .notPositiveDefinite(order: $0) }
    }
    #expect(throws: LAPACKError.illegalArgument(routine: "potrf", index: 5)) {
      try LAPACKError.check(-5, "potrf") { .notPositiveDefinite(order: $0) }
    }
    for code in [-1010, -1011] {
      #expect(throws: LAPACKError.outOfMemory(routine: "potrf")) {
        try LAPACKError.check(code, "potrf") { .notPositiveDefinite(order: $0) }
      }
    }
    let errors: [LAPACKError] = [
      .empty(operation: "f", shape: [0, 1]), .notFinite(operation: "f", argument: "the matrix", row: 1, column: 2),
      .notPositiveDefinite(order: 1), .singular(column: 0), .invalidTolerance(operation: "f", value: -1),
      .noConvergence(routine: "gesdd", remaining: 1),
      .illegalArgument(routine: "gesdd", index: 1), .outOfMemory(routine: "gesdd"), .shape(.invalidShape([])),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
  }
}
