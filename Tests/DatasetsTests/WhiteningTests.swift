import Datasets
import LinearAlgebra
import RandomNumbers
import Testing

@Suite struct WhiteningTests {
  /// Rows whose features have deviations 1…4, are mixed by an orthogonal matrix and shifted by 10: κ(C) ≈ 16.
  private func mixedData<Scalar: BLASScalar>(
    rows: Int, features: Int, seed: UInt64, as type: Scalar.Type
  ) throws -> Tensor<Scalar> {
    var generator = Philox(seed: seed)
    let deviations = (0..<features).map { 1 + 3 * Double($0) / Double(max(features - 1, 1)) }
    let independent = Tensor<Double>(shape: [rows, features]) { deviations[$0 % features] * generator.nextNormal() }
    // The same mixing for every seed of the data.
    var mixing = Philox(seed: 51)
    let rotation: Tensor<Double> = try orthogonalMatrix(rows: features, columns: features) { mixing.nextNormal() }
    return Tensor<Scalar>(try matmul(independent, rotation) + 10)
  }

  private func covariance<Scalar: BLASScalar>(_ data: Tensor<Scalar>) throws -> Tensor<Double> {
    let moments = try ScatterMatrix(data)
    return moments.scatter / Double(moments.rows - 1)
  }

  /// How far elements of the covariance of whitened data of κ ≤ 100 may be from the exact ones.
  ///
  /// A whitened element is a sum of d products of rounded factors, off by (d + 2)·u·Σ|x||W| ≤ (d + 2)·u·√(d·κ)·|x|
  /// with u = ulp/2, so a covariance, a product of two, by twice that part of itself. The matrix itself comes from
  /// eigenvalues in Double, off by d·κ·ulp(Double) at most, which is less.
  private func tolerance<Scalar: BLASScalar>(features: Int, _ type: Scalar.Type) -> Double {
    let d = Double(features)
    return (d + 2) * (d * 100).squareRoot() * Double(Scalar.ulpOfOne) + d * 100 * Double.ulpOfOne
  }

  private func largestDifference(_ left: Tensor<Double>, _ right: Tensor<Double>) throws -> Double {
    try (left - right).scalars.map { abs($0) }.max() ?? 0
  }

  @Test(arguments: [(2, 1), (40, 7), (300, 16), (600, 33)], WhiteningKind.allCases)
  func whitenedTrainingDataHaveTheIdentityAsCovariance(size: (Int, Int), kind: WhiteningKind) throws {
    let (rows, features) = size
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      let data = try mixedData(rows: rows, features: features, seed: 52, as: type)
      let whitening = try Whitening(fitting: data, kind: kind, epsilon: 0)
      let whitened = try whitening.transform(data)
      #expect(whitened.shape == [rows, features])
      let bound = tolerance(features: features, type)
      #expect(try largestDifference(covariance(whitened), .identity(features)) <= bound)
      #expect(try ScatterMatrix(whitened).means.scalars.allSatisfy { abs($0) <= bound })
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func pcaAxesAreOrderedAndMatchTheSingularValues() throws {
    let data = try mixedData(rows: 200, features: 9, seed: 53, as: Double.self)
    let whitening = try Whitening(fitting: data, kind: .pca, epsilon: 0)
    let variances = whitening.explainedVariance
    #expect(variances == variances.sorted(by: >))
    #expect(abs(whitening.explainedVarianceRatio.reduce(0, +) - 1) <= 9 * Double.ulpOfOne)
    let means = try data.mean(axis: 0)
    let centred = Tensor(shape: data.shape) { data[$0 / 9, $0 % 9] - means[$0 % 9] }
    let singular = try SingularValueDecomposition(centred).singularValues
    for index in 0..<9 {
      // λ is off by 2·d·ulp·λ₁ (backward stability); σ² by as much for its 209 rows and columns.
      let exact = singular[index] * singular[index] / 199
      #expect(abs(variances[index] - exact) <= 2 * 209 * Double.ulpOfOne * variances[0])
    }
    // Of the columns of the matrix, an axis times a positive scale, the largest element is positive.
    for axis in 0..<9 {
      let column = (0..<9).map { whitening.map.matrix[$0, axis] }
      #expect(column.max { abs($0) < abs($1) }! > 0)
    }
  }

  @Test func fewerComponentsAreTheFirstOnes() throws {
    let data = try mixedData(rows: 100, features: 8, seed: 54, as: Double.self)
    let all = try Whitening(fitting: data, kind: .pca)
    let three = try Whitening(fitting: data, kind: .pca, components: 3)
    #expect(try three.transform(data).shape == [100, 3])
    #expect(three.explainedVariance == Array(all.explainedVariance.prefix(3)))
    #expect(three.explainedVarianceRatio == Array(all.explainedVarianceRatio.prefix(3)))
    let (wide, narrow) = (try all.transform(data), try three.transform(data))
    let first = Tensor(shape: [100, 3]) { wide[$0 / 3, $0 % 3] }
    #expect(try largestDifference(narrow, first) <= 100 * tolerance(features: 8, Double.self))

    // ZCA of 3 components keeps d features, but only 3 directions of variance 1.
    let zca = try Whitening(fitting: data, kind: .zca, components: 3, epsilon: 0)
    let image = try zca.transform(data)
    #expect(image.shape == [100, 8])
    let spread = try SymmetricEigendecomposition(covariance(image)).eigenvalues.scalars
    for (value, exact) in zip(spread, [0, 0, 0, 0, 0, 1, 1, 1]) {
      #expect(abs(value - Double(exact)) <= 8 * tolerance(features: 8, Double.self))
    }
  }

  @Test func zcaIsTheSymmetricOne() throws {
    let data = try mixedData(rows: 100, features: 8, seed: 55, as: Double.self)
    let matrix = try Whitening(fitting: data, kind: .zca).map.matrix
    #expect(try largestDifference(matrix, matrix.transposed()) <= tolerance(features: 8, Double.self))
    // The symmetric square root of the inverse covariance: its square times the covariance is the identity.
    let product = try matmul(matmul(matrix, matrix), covariance(data))
    // Epsilon changes each eigenvalue of the product, λ/(λ + ε), by ε/λ, where λ > 0.25.
    #expect(try largestDifference(product, .identity(8)) <= 4e-6 + tolerance(features: 8, Double.self))
  }

  @Test func epsilonDampsSmallVariances() throws {
    let data = try mixedData(rows: 300, features: 6, seed: 56, as: Double.self)
    let whitening = try Whitening(fitting: data, kind: .pca, epsilon: 2)
    let found = try covariance(whitening.transform(data))
    for (index, variance) in whitening.explainedVariance.enumerated() {
      #expect(abs(found[index, index] - variance / (variance + 2)) <= tolerance(features: 6, Double.self))
    }
  }

  @Test func otherDataGetTheTrainingDatasMap() throws {
    let training = try mixedData(rows: 100, features: 5, seed: 57, as: Float.self)
    let other = try mixedData(rows: 3, features: 5, seed: 58, as: Float.self)
    let whitening = try Whitening(fitting: training, kind: .pca)
    let found = try whitening.transform(other)
    let means = try Tensor<Double>(training).mean(axis: 0)
    for row in 0..<3 {
      for output in 0..<5 {
        var (expected, magnitude) = (0.0, 0.0)
        for index in 0..<5 {
          let term = (Double(other[row, index]) - means[index]) * Double(whitening.map.matrix[index, output])
          expected += term
          magnitude += abs(term)
        }
        // A sum of 5 products of a centred feature that was rounded.
        #expect(abs(Double(found[row, output]) - expected) <= 6 * Double(Float.ulpOfOne) * magnitude)
      }
    }
  }

  @Test func directionsWithoutVarianceStayFinite() throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      // A constant feature, and one that repeats another; as borders of images do.
      let base = try mixedData(rows: 50, features: 3, seed: 59, as: type)
      let data = Tensor<Scalar>(shape: [50, 5]) { index in
        let (row, column) = (index / 5, index % 5)
        return column < 3 ? base[row, column] : column == 3 ? 7 : base[row, 0]
      }
      let whitening = try Whitening(fitting: data, kind: .pca, epsilon: 0)
      #expect(whitening.explainedVariance[3...] == [0, 0])
      let found = try covariance(whitening.transform(data))
      let exact = Tensor<Double>(shape: [5, 5]) { $0 / 5 == $0 % 5 && $0 % 5 < 3 ? 1 : 0 }
      #expect(try largestDifference(found, exact) <= tolerance(features: 5, type))
      let constant = Tensor<Scalar>(shape: [4, 2], repeating: 3)
      for kind in WhiteningKind.allCases {
        let flat = try Whitening(fitting: constant, kind: kind, epsilon: 0)
        #expect(try flat.transform(constant) == .zeros([4, 2]))
        #expect(flat.explainedVarianceRatio == [0, 0])
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func badArgumentsAreRefused() throws {
    let data = try mixedData(rows: 10, features: 4, seed: 60, as: Float.self)
    #expect(throws: WhiteningError.tooFewRows(1)) { try Whitening(fitting: data.rows(0..<1), kind: .pca) }
    #expect(throws: WhiteningError.invalidEpsilon(-1)) { try Whitening(fitting: data, kind: .pca, epsilon: -1) }
    #expect(throws: WhiteningError.self) { try Whitening(fitting: data, kind: .pca, epsilon: .nan) }
    for count in [0, 5] {
      #expect(throws: WhiteningError.componentsOutOfRange(count, features: 4)) {
        try Whitening(fitting: data, kind: .zca, components: count)
      }
    }
    var broken = data
    broken[7, 2] = .infinity
    #expect(
      throws: WhiteningError.data(
        .notFinite(operation: "ScatterMatrix", argument: "the data", row: 7, column: 2))
    ) { try Whitening(fitting: broken, kind: .pca) }
    let whitening = try Whitening(fitting: data, kind: .pca)
    #expect(throws: WhiteningError.self) { try whitening.transform(.zeros([2, 3])) }
    let errors: [WhiteningError] = [
      .tooFewRows(1), .invalidEpsilon(-1), .componentsOutOfRange(0, features: 1), .data(.singular(column: 1)),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
  }
}
