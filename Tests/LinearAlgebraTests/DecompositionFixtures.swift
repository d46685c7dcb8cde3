import LinearAlgebra
import RandomNumbers

/// Numbers from the standard normal distribution.
func gaussianTensor<Scalar: BLASScalar>(
  _ shape: [Int], seed: UInt64, as type: Scalar.Type = Scalar.self
) -> Tensor<Scalar> {
  var generator = Philox(seed: seed)
  return Tensor(shape: shape) { _ in Scalar(generator.nextNormal()) }
}

/// The Hilbert matrix 1/(i + j + 1), whose condition number grows like e^3.5n.
func hilbertMatrix<Scalar: BLASScalar>(_ n: Int, as type: Scalar.Type = Scalar.self) -> Tensor<Scalar> {
  Tensor(shape: [n, n]) { 1 / Scalar($0 / n + $0 % n + 1) }
}

/// The product of a rows × rank and a rank × columns Gaussian matrix.
func lowRankMatrix<Scalar: BLASScalar>(
  _ rows: Int, _ columns: Int, rank: Int, seed: UInt64, as type: Scalar.Type = Scalar.self
) throws -> Tensor<Scalar> {
  try matmul(
    gaussianTensor([rows, rank], seed: seed, as: type), gaussianTensor([rank, columns], seed: seed + 1, as: type))
}

/// The symmetric part of a matrix.
func symmetrized<Scalar: BLASScalar>(_ matrix: Tensor<Scalar>) throws -> Tensor<Scalar> {
  try matrix + matrix.transposed()
}

/// Matrices on which every decomposition must hold: square, tall, wide, of low rank, ill-conditioned, zero.
func matricesToDecompose<Scalar: BLASScalar>(_ type: Scalar.Type) throws -> [Tensor<Scalar>] {
  let sizes = [1, 2, 7, 16, 33, 65]
  var matrices = sizes.map { gaussianTensor([$0, $0], seed: UInt64($0), as: type) }
  for (rows, columns) in [(2, 1), (7, 2), (65, 16), (200, 3)] {
    matrices.append(gaussianTensor([rows, columns], seed: 100, as: type))
    matrices.append(gaussianTensor([columns, rows], seed: 101, as: type))
  }
  matrices.append(try lowRankMatrix(33, 16, rank: 5, seed: 102, as: type))
  matrices.append(try lowRankMatrix(16, 33, rank: 1, seed: 104, as: type))
  matrices.append(hilbertMatrix(12, as: type))
  matrices.append(.zeros([7, 5]))
  return matrices
}

/// How far a computed decomposition of a rows × columns matrix may be from the matrix, as a part of its norm.
///
/// Householder methods are backward stable: the worst bound is c·rows·columns·u with u = ulp/2 (Higham, Accuracy and
/// Stability, theorem 19.4), where rounding errors of independent sign add up to the root of it, and
/// √(rows·columns) ≤ (rows + columns)/2. The constant c is taken as 4.
func backwardError<Scalar: BLASScalar>(_ rows: Int, _ columns: Int, _ type: Scalar.Type) -> Double {
  Double(rows + columns) * Double(Scalar.ulpOfOne)
}

/// Frobenius's norm of left − right, in Double.
func distance<Scalar: BLASScalar>(_ left: Tensor<Scalar>, _ right: Tensor<Scalar>) throws -> Double {
  try norm2(Tensor<Double>(left) - Tensor<Double>(right))
}

/// The norm of a product of two matrices minus a third, in Double.
func residual<Scalar: BLASScalar>(
  _ a: Tensor<Scalar>, _ b: Tensor<Scalar>, minus c: Tensor<Scalar>, transposeA: Bool = false,
  transposeB: Bool = false
) throws -> Double {
  let product = try matmul(Tensor<Double>(a), Tensor<Double>(b), transposeA: transposeA, transposeB: transposeB)
  return try distance(product, Tensor<Double>(c))
}

/// How far the columns (or, transposed, the rows) are from orthonormal, ‖QᵀQ − I‖, over its bound.
func orthogonalityDefect<Scalar: BLASScalar>(_ q: Tensor<Scalar>, rows: Bool = false) throws -> Double {
  let count = q.shape[rows ? 0 : 1]
  let defect = try residual(q, q, minus: .identity(count), transposeA: !rows, transposeB: rows)
  return defect / (backwardError(q.shape[0], q.shape[1], Scalar.self) * Double(count).squareRoot())
}

/// The matrix with the column number j multiplied by factor number j.
func scalingColumns<Scalar: BLASScalar>(_ matrix: Tensor<Scalar>, by factors: Tensor<Scalar>) -> Tensor<Scalar> {
  let columns = matrix.shape[1]
  return Tensor(shape: matrix.shape) { matrix[$0 / columns, $0 % columns] * factors[$0 % columns] }
}
