// Vectors at the ragged right edge: the same operations on fewer lanes, so that no column's bits depend on its place.

internal import CKernelShims

/// The `count` lanes from `p` (1 … lanes); the others are zero.
@inline(__always)
func load(_ p: ConstPointer, _ count: Int) -> Vector {
  count == lanes ? lam_load(p) : lam_load_first(p, Int64(count))
}

/// The first `count` lanes of `v` to `p`.
@inline(__always)
func store(_ p: Pointer, _ v: Vector, _ count: Int) {
  if count == lanes { lam_store(p, v) } else { lam_store_first(p, v, Int64(count)) }
}

/// `value` in every lane.
@inline(__always)
func splat(_ value: Scalar) -> Vector { lam_splat(value) }

/// A constant of the source in every lane.
@inline(__always)
func constant(_ value: Double) -> Vector { lam_splat(Scalar(value)) }

/// `p + column`, or nil.
@inline(__always)
func offset(_ p: ConstPointer?, _ column: Int) -> ConstPointer? {
  guard let p else { return nil }
  return p + column
}

/// The `count` lanes from `p + column`; zeros where there is no `p`.
@inline(__always)
func load(_ p: ConstPointer?, _ column: Int, _ count: Int) -> Vector {
  guard let p else { return Vector.zero }
  return load(p + column, count)
}

/// The `count` doubles from `p` (1 … lanes); the others are zero.
@inline(__always)
func loadDoubles(_ p: UnsafeMutablePointer<Double>, _ count: Int) -> lam_doubles {
  count == lanes ? lam_load_doubles(p) : lam_load_first_doubles(p, Int64(count))
}

/// The first `count` lanes of `v` to `p`.
@inline(__always)
func storeDoubles(_ p: UnsafeMutablePointer<Double>, _ v: lam_doubles, _ count: Int) {
  if count == lanes { lam_store_doubles(p, v) } else { lam_store_first_doubles(p, v, Int64(count)) }
}
