import LinearAlgebra
import Testing

/// op(A)·op(B) by its definition in Double, and the same of the magnitudes, by which the errors are bounded.
private func naiveProduct<Scalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>, transposeA: Bool, transposeB: Bool
) throws -> (product: Tensor<Double>, magnitudes: Tensor<Double>) {
  let left = transposeA ? try a.transposed() : a
  let right = transposeB ? try b.transposed() : b
  let (m, k, n) = (left.shape[0], left.shape[1], right.shape[1])
  var (product, magnitudes) = (Tensor<Double>.zeros([m, n]), Tensor<Double>.zeros([m, n]))
  for i in 0..<m {
    for j in 0..<n {
      for l in 0..<k {
        let term = Double(left[i, l]) * Double(right[l, j])
        product[i, j] += term
        magnitudes[i, j] += abs(term)
      }
    }
  }
  return (product, magnitudes)
}

/// The largest |found − expected| in units of (k + 1)·ulp·magnitude.
///
/// A sum of k products in any order is off by at most k·u/(1 − k·u)·Σ|terms| with u = ulp/2 (Higham, Accuracy and
/// Stability, §3.1), to which alpha or beta adds a rounding; in Double the expected sum is off by as much again.
private func worstError<Scalar>(
  _ found: Tensor<Scalar>, _ expected: Tensor<Double>, _ magnitudes: Tensor<Double>, terms: Int
) -> Double {
  let unit = Double(Scalar.ulpOfOne) * Double(terms + 1)
  return zip(found.scalars, zip(expected.scalars, magnitudes.scalars)).map { found, exact in
    let error = abs(Double(found) - exact.0)
    return error.isNaN ? .infinity : error == 0 ? 0 : error / (unit * exact.1)
  }.max() ?? 0
}

private let transpositions = [(false, false), (false, true), (true, false), (true, true)]

@Suite struct MatrixProductTests {
  @Test(arguments: [
    (1, 1, 1), (1, 7, 15), (7, 1, 16), (15, 16, 1), (16, 17, 31), (31, 33, 17), (33, 65, 31), (65, 31, 33),
    (3, 1000, 5), (2, 3, 1000), (32, 10, 64),
  ])
  func matmulMatchesTheDefinition(m: Int, n: Int, k: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      for (transposeA, transposeB) in transpositions {
        let a = gaussianTensor(transposeA ? [k, m] : [m, k], seed: 1, as: type)
        let b = gaussianTensor(transposeB ? [n, k] : [k, n], seed: 2, as: type)
        let (expected, magnitudes) = try naiveProduct(a, b, transposeA: transposeA, transposeB: transposeB)
        let product = try matmul(a, b, transposeA: transposeA, transposeB: transposeB)
        #expect(product.shape == [m, n])
        #expect(worstError(product, expected, magnitudes, terms: k) <= 1)

        // beta = 0 means overwrite: a NaN that was there must not survive as 0·NaN.
        var overwritten = Tensor<Scalar>(shape: [m, n], repeating: .nan)
        try matmul(a, b, transposeA: transposeA, transposeB: transposeB, into: &overwritten)
        #expect(worstError(overwritten, expected, magnitudes, terms: k) <= 1)

        // 2·AB − C: C adds one term to the sum.
        let start = gaussianTensor([m, n], seed: 3, as: type)
        var accumulated = start
        try matmul(a, b, transposeA: transposeA, transposeB: transposeB, alpha: 2, beta: -1, into: &accumulated)
        let all = try 2 * expected - Tensor<Double>(start)
        let bound = try 2 * magnitudes + Tensor<Double>(start).map { abs($0) }
        #expect(worstError(accumulated, all, bound, terms: k + 1) <= 1)
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func productsOverNothingAreZero() throws {
    #expect(try matmul(Tensor<Float>.zeros([2, 0]), Tensor<Float>.zeros([0, 3])).scalars == [0, 0, 0, 0, 0, 0])
    #expect(try matmul(Tensor<Float>.zeros([0, 2]), Tensor<Float>.zeros([2, 3])).shape == [0, 3])
    #expect(try matvec(Tensor<Float>.zeros([2, 0]), Tensor<Float>.zeros([0])).scalars == [0, 0])
    #expect(try matvec(Tensor<Float>.zeros([0, 3]), Tensor<Float>.zeros([0]), transposeA: true).scalars == [0, 0, 0])
    #expect(try dot(Tensor<Double>.zeros([0]), Tensor<Double>.zeros([0])) == 0)
    #expect(try norm2(Tensor<Double>.zeros([0])) == 0)
    #expect(try indexOfLargestMagnitude(Tensor<Double>.zeros([0])) == nil)
  }

  @Test func wrongShapesAreRefused() {
    let a = Tensor<Float>.zeros([2, 3])
    #expect(
      throws: TensorError.shapeMismatch(
        operation: "matmul", left: [2, 3], right: [2, 3],
        requirement: "give axis 1 of the left the length of axis 0 of the right")
    ) { try matmul(a, a) }
    #expect(throws: TensorError.self) { try matmul(a, a, transposeA: true, transposeB: true) }
    #expect(throws: TensorError.rankMismatch(operation: "matmul", expected: 2, shape: [3])) {
      try matmul(a, Tensor<Float>.zeros([3]))
    }
    var c = Tensor<Float>.zeros([3, 2])
    #expect(throws: TensorError.self) { try matmul(a, a, transposeB: true, into: &c) }
    #expect(throws: TensorError.self) { try matvec(a, Tensor<Float>.zeros([2])) }
    #expect(throws: TensorError.rankMismatch(operation: "matvec", expected: 1, shape: [3, 1])) {
      try matvec(a, Tensor<Float>.zeros([3, 1]))
    }
    #expect(throws: TensorError.self) { try dot(a, c) }
    #expect(throws: TensorError.self) { try axpy(1, a, into: &c) }
    // Lengths that BLAS's integer cannot hold, in tensors that need no memory.
    let long = Tensor<Float>.zeros([1 << 40, 0])
    #expect(throws: TensorError.tooLarge(operation: "matmul", shape: [1 << 40, 0], limit: Int(Int32.max))) {
      try matmul(long, Tensor<Float>.zeros([0, 2]))
    }
    #expect(throws: TensorError.self) { try matvec(long, Tensor<Float>.zeros([0])) }
  }

  @Test(arguments: [1, 7, 15, 16, 17, 31, 33, 65, 1000])
  func vectorsMatchTheDefinition(count: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      let x = gaussianTensor([count], seed: 4, as: type)
      var y = gaussianTensor([count], seed: 5, as: type)
      let (xs, ys) = (x.scalars.map(Double.init), y.scalars.map(Double.init))
      // The bound of `worstError`.
      let unit = Double(Scalar.ulpOfOne) * Double(count + 1)

      let terms = zip(xs, ys).map { $0 * $1 }
      let dotError = abs(Double(try dot(x, y)) - terms.reduce(0, +))
      #expect(dotError <= unit * terms.map { abs($0) }.reduce(0, +))

      let exactSum = xs.map { abs($0) }.reduce(0, +)
      #expect(abs(Double(try absoluteSum(x)) - exactSum) <= unit * exactSum)

      let exactNorm = xs.map { $0 * $0 }.reduce(0, +).squareRoot()
      #expect(abs(Double(try norm2(x)) - exactNorm) <= unit * exactNorm)

      let largest = xs.map { abs($0) }.max()!
      #expect(try indexOfLargestMagnitude(x) == xs.firstIndex { abs($0) == largest })

      // One product and one sum: two roundings.
      try axpy(-2, x, into: &y)
      for index in 0..<count {
        let bound = Double(Scalar.ulpOfOne) * (2 * abs(xs[index]) + abs(ys[index]))
        #expect(abs(Double(y[index]) - (ys[index] - 2 * xs[index])) <= bound)
      }

      var scaled = x
      try scale(&scaled, by: 0.5)
      #expect(scaled == x * 0.5)
      #expect(x.scalars.map(Double.init) == xs)

      // Numbers whose squares overflow, or vanish.
      let huge = Scalar.greatestFiniteMagnitude / Scalar(4 * count)
      let exactHuge = Double(huge / Scalar.greatestFiniteMagnitude) * Double(count).squareRoot()
      let foundHuge = Double(try norm2(Tensor(shape: [count], repeating: huge)) / Scalar.greatestFiniteMagnitude)
      #expect(abs(foundHuge - exactHuge) <= 4 * (unit + Double(Scalar.ulpOfOne)) * exactHuge)
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test(arguments: [(1, 1), (7, 15), (16, 17), (33, 31), (65, 1000), (1000, 7)])
  func matvecMatchesTheDefinition(m: Int, n: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      for transposeA in [false, true] {
        let a = gaussianTensor([m, n], seed: 6, as: type)
        let x = gaussianTensor([transposeA ? m : n], seed: 7, as: type)
        let column = try x.reshaped(to: [x.count, 1])
        let (expected, magnitudes) = try naiveProduct(a, column, transposeA: transposeA, transposeB: false)
        let product = try matvec(a, x, transposeA: transposeA)
        #expect(product.shape == [transposeA ? n : m])
        #expect(worstError(product, expected, magnitudes, terms: x.count) <= 1)
        var overwritten = Tensor<Scalar>(shape: product.shape, repeating: .nan)
        a.withUnsafeBufferPointer { a in
          x.withUnsafeBufferPointer { x in
            overwritten.withUnsafeMutableBufferPointer { y in
              Scalar.unsafeMultiplyVector(
                transposeA: transposeA, m: m, n: n, alpha: 1, a.baseAddress!, n, x.baseAddress!, beta: 0,
                y.baseAddress!)
            }
          }
        }
        #expect(overwritten == product)
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test(arguments: [(1, 1), (7, 15), (17, 33), (65, 16)])
  func gramFillsTheLowerTriangleAlone(k: Int, n: Int) throws {
    func check<Scalar: BLASScalar>(_ type: Scalar.Type) throws {
      let a = gaussianTensor([k, n], seed: 8, as: type)
      var gram = Tensor<Scalar>(shape: [n, n], repeating: .nan)
      a.withUnsafeBufferPointer { a in
        gram.withUnsafeMutableBufferPointer { c in
          Scalar.unsafeAccumulateGram(n: n, k: k, alpha: 1, a.baseAddress!, n, beta: 0, c.baseAddress!, n)
        }
      }
      let (expected, magnitudes) = try naiveProduct(a, a, transposeA: true, transposeB: false)
      let unit = Double(Scalar.ulpOfOne) * Double(k + 1)
      for row in 0..<n {
        for column in 0..<n {
          if column > row {
            #expect(gram[row, column].isNaN)
          } else {
            #expect(abs(Double(gram[row, column]) - expected[row, column]) <= unit * magnitudes[row, column])
          }
        }
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func theLibrarySaysWhatItIs() {
    #expect(!BLAS.coreName.isEmpty)
    #expect(BLAS.configuration.contains(BLAS.version))
    #expect(BLAS.version.split(separator: ".").count >= 2)
  }

  // In a process of its own: the number of threads concerns every other test's BLAS calls.
  @Test func oneThreadUnlessSet() async {
    await #expect(processExitsWith: .success) {
      #expect(BLAS.threads == 1)
      BLAS.threads = 2
      #expect(BLAS.threads == 2)
      BLAS.prepare()
      #expect(BLAS.threads == 2)
      BLAS.threads = 1
      #expect(BLAS.threads == 1)
    }
    await #expect(processExitsWith: .failure) { BLAS.threads = 0 }
  }
}
