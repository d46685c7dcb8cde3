import LinearAlgebra
import RandomNumbers
import Testing
import Training

@Suite struct RidgeClassifierTests {
  /// Images around one random centre for each class, and their labels.
  private func clusters<Scalar: BLASScalar>(
    images: Int, features: Int, classes: Int, spread: Double, seed: UInt64, as type: Scalar.Type
  ) -> (images: Tensor<Scalar>, labels: [Int32]) {
    var generator = Philox(seed: 61)
    let centres = Tensor<Double>(shape: [classes, features]) { _ in generator.nextNormal() }
    generator = Philox(seed: seed)
    let labels = (0..<images).map { _ in Int32(generator.nextInteger(below: classes)) }
    let points = Tensor<Scalar>(shape: [images, features]) { index in
      let centre = centres[Int(labels[index / features]), index % features]
      return Scalar(5 + centre + spread * generator.nextNormal())
    }
    return (points, labels)
  }

  @Test(arguments: [0, 1e-3, 0.5])
  func solvesTheAugmentedLeastSquaresProblem(regularization: Double) throws {
    // The same minimum by another way: rows √(λ·s)·I with targets 0 below the centred data, by singular values.
    let (count, features, classes) = (300, 7, 4)
    let (images, labels) = clusters(
      images: count, features: features, classes: classes, spread: 1, seed: 62, as: Double.self)
    let ridge = try RidgeClassifier.fit(images, labels: labels, classes: classes, regularization: regularization)
    let means = try images.mean(axis: 0)
    let centred = Tensor(shape: images.shape) { images[$0 / features, $0 % features] - means[$0 % features] }
    let penalty = try regularization * (centred * centred).sum() / Double(features)
    let root = penalty.squareRoot()
    let matrix = Tensor(shape: [count + features, features]) { index in
      let (row, column) = (index / features, index % features)
      return row < count ? centred[row, column] : row - count == column ? root : 0
    }
    let shares = (0..<classes).map { label in Double(labels.count { $0 == Int32(label) }) / Double(count) }
    let targets = Tensor(shape: [count + features, classes]) { index in
      let (row, column) = (index / classes, index % classes)
      return row < count ? (Int(labels[row]) == column ? 1 : 0) - shares[column] : 0
    }
    let exact = try LeastSquares(matrix, targets)
    let condition = exact.singularValues[0] / exact.singularValues[features - 1]
    // The normal equations square the condition: (3d + 1)·ulp·κ² of the norm (Higham, theorem 10.4), to which the
    // n·ulp of the scatter matrix's sums comes.
    let unit = Double(3 * features + 1 + count) * Double.ulpOfOne * condition * condition
    let difference = try norm2(ridge.map.matrix - exact.solution)
    #expect(try difference <= unit * norm2(exact.solution))
    #expect(ridge.map.offset.scalars == shares)
    #expect(ridge.map.means.count == features)
  }

  @Test func separatesClusters() throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      // In 30 dimensions the centres lie √60 ≈ 7.7 apart, so noise of 0.5 hardly ever reaches across.
      let training = clusters(images: 600, features: 30, classes: 5, spread: 0.5, seed: 63, as: type)
      let test = clusters(images: 200, features: 30, classes: 5, spread: 0.5, seed: 64, as: type)
      let ridge = try RidgeClassifier.fit(training.images, labels: training.labels, classes: 5)
      #expect(try ridge.accuracy(test.images, labels: test.labels) > 0.99)
      let predicted = try ridge.predict(test.images)
      #expect(predicted == (try ridge.scores(test.images).argmaxAlongLastAxis()).map { Int32($0) })
      let share = Double(zip(predicted, test.labels).count { $0 == $1 }) / 200
      #expect(try ridge.accuracy(test.images, labels: test.labels) == share)
      let wrong = test.labels.map { ($0 + 1) % 5 }
      #expect(try ridge.accuracy(test.images, labels: wrong) < 0.01)
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func theUnitOfTheImagesChangesNoPrediction() throws {
    let (images, labels) = clusters(images: 300, features: 6, classes: 3, spread: 2, seed: 65, as: Double.self)
    let ridge = try RidgeClassifier.fit(images, labels: labels, classes: 3, regularization: 0.1)
    // A power of two changes no rounding, so the scores agree to the bit.
    let scaled = try RidgeClassifier.fit(images * 256, labels: labels, classes: 3, regularization: 0.1)
    #expect(try scaled.scores(images * 256) == ridge.scores(images))
    // Twice the same images: twice the scatter and the penalty, and the same weights but for rounding.
    let twice = try Tensor(shape: [600, 6], scalars: images.scalars + images.scalars)
    let doubled = try RidgeClassifier.fit(twice, labels: labels + labels, classes: 3, regularization: 0.1)
    let difference = try norm2(doubled.map.matrix - ridge.map.matrix)
    // As above, with κ(S + λ·s·I) ≤ (d + λ)/λ: the largest eigenvalue is at most the trace.
    let unit = Double(3 * 6 + 1 + 600) * Double.ulpOfOne * 61
    #expect(try difference <= unit * norm2(ridge.map.matrix))
  }

  @Test func moreRegularizationGivesSmallerWeights() throws {
    let (images, labels) = clusters(images: 200, features: 6, classes: 3, spread: 1, seed: 66, as: Float.self)
    let norms = try [0, 0.1, 1, 100].map { value in
      try norm2(RidgeClassifier.fit(images, labels: labels, classes: 3, regularization: value).map.matrix)
    }
    #expect(norms == norms.sorted(by: >))
  }

  @Test func featuresThatDoNotVaryAreHarmless() throws {
    let (images, labels) = clusters(images: 100, features: 4, classes: 2, spread: 0.1, seed: 67, as: Float.self)
    let padded = Tensor<Float>(shape: [100, 6]) { $0 % 6 < 4 ? images[$0 / 6, $0 % 6] : 9 }
    #expect(try RidgeClassifier.fit(padded, labels: labels, classes: 2).accuracy(padded, labels: labels) == 1)
    #expect(
      throws: RidgeClassifierError.data(.notPositiveDefinite(order: 5))
    ) { try RidgeClassifier.fit(padded, labels: labels, classes: 2, regularization: 0) }
    // Nothing varies: the most frequent class is all there is to predict.
    let constant = Tensor<Float>(shape: [3, 2], repeating: 4)
    let flat = try RidgeClassifier.fit(constant, labels: [1, 0, 1], classes: 3)
    #expect(try flat.predict(constant) == [1, 1, 1])
  }

  @Test func badArgumentsAreRefused() throws {
    let images = Tensor<Float>(shape: [3, 2]) { Float($0 * $0) }
    #expect(throws: RidgeClassifierError.labelCount(labels: 2, images: 3)) {
      try RidgeClassifier.fit(images, labels: [0, 1], classes: 2)
    }
    #expect(throws: RidgeClassifierError.labelOutOfRange(index: 1, label: 2, classes: 2)) {
      try RidgeClassifier.fit(images, labels: [0, 2, 1], classes: 2)
    }
    #expect(throws: RidgeClassifierError.labelOutOfRange(index: 2, label: -1, classes: 2)) {
      try RidgeClassifier.fit(images, labels: [0, 1, -1], classes: 2)
    }
    for classes in [0, -1, .max] {
      #expect(throws: RidgeClassifierError.classCount(classes)) {
        try RidgeClassifier.fit(images, labels: [0, 0, 0], classes: classes)
      }
    }
    #expect(throws: RidgeClassifierError.invalidRegularization(-1)) {
      try RidgeClassifier.fit(images, labels: [0, 1, 1], classes: 2, regularization: -1)
    }
    #expect(throws: RidgeClassifierError.self) {
      try RidgeClassifier.fit(Tensor<Float>.zeros([0, 2]), labels: [], classes: 2)
    }
    #expect(throws: RidgeClassifierError.self) {
      try RidgeClassifier.fit(Tensor<Float>.zeros([3]), labels: [0, 1, 1], classes: 2)
    }
    var broken = images
    broken[2, 1] = .nan
    #expect(
      throws: RidgeClassifierError.data(
        .notFinite(operation: "ScatterMatrix", argument: "the data", row: 2, column: 1))
    ) { try RidgeClassifier.fit(broken, labels: [0, 1, 1], classes: 2) }
    let ridge = try RidgeClassifier.fit(images, labels: [0, 1, 1], classes: 2)
    #expect(throws: RidgeClassifierError.self) { try ridge.predict(.zeros([1, 3])) }
    #expect(throws: RidgeClassifierError.noImages) { try ridge.accuracy(.zeros([0, 2]), labels: []) }
    #expect(throws: RidgeClassifierError.labelCount(labels: 1, images: 3)) {
      try ridge.accuracy(images, labels: [0])
    }
    let errors: [RidgeClassifierError] = [
      .labelCount(labels: 1, images: 2), .labelOutOfRange(index: 0, label: 3, classes: 2), .classCount(0),
      .invalidRegularization(-1), .noImages, .data(.notPositiveDefinite(order: 1)), .data(.singular(column: 0)),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
  }
}
