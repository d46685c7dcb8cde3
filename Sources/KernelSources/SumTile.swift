internal import CKernelShims

/// How the sixteen sums of a tile lie in a product: rows by vectors of columns.
enum TileShape {
  case rows4
  case rows8
  case rows16

  @inline(__always)
  var rows: Int {
    switch self {
    case .rows4: 4
    case .rows8: 8
    case .rows16: 16
    }
  }

  /// Vectors in a row.
  @inline(__always) var vectors: Int { 16 / rows }

  /// The place of sum `index` where rows lie `stride` apart.
  @inline(__always)
  func place(_ index: Int, _ stride: Int) -> Int { index / vectors * stride + index % vectors * lanes }
}

/// Sixteen sums of a product in registers; every method is for a shape that is constant where it is called.
///
/// Named one by one, because neither a Swift array nor a C array of vectors stays in registers here.
struct SumTile {
  var s0 = Vector.zero, s1 = Vector.zero, s2 = Vector.zero, s3 = Vector.zero
  var s4 = Vector.zero, s5 = Vector.zero, s6 = Vector.zero, s7 = Vector.zero
  var s8 = Vector.zero, s9 = Vector.zero, s10 = Vector.zero, s11 = Vector.zero
  var s12 = Vector.zero, s13 = Vector.zero, s14 = Vector.zero, s15 = Vector.zero

  @inline(__always)
  init() {}

  /// The sums at `p`.
  @inline(__always)
  init(_ shape: TileShape, _ p: ConstPointer, _ stride: Int) {
    s0 = lam_load(p + shape.place(0, stride))
    s1 = lam_load(p + shape.place(1, stride))
    s2 = lam_load(p + shape.place(2, stride))
    s3 = lam_load(p + shape.place(3, stride))
    s4 = lam_load(p + shape.place(4, stride))
    s5 = lam_load(p + shape.place(5, stride))
    s6 = lam_load(p + shape.place(6, stride))
    s7 = lam_load(p + shape.place(7, stride))
    s8 = lam_load(p + shape.place(8, stride))
    s9 = lam_load(p + shape.place(9, stride))
    s10 = lam_load(p + shape.place(10, stride))
    s11 = lam_load(p + shape.place(11, stride))
    s12 = lam_load(p + shape.place(12, stride))
    s13 = lam_load(p + shape.place(13, stride))
    s14 = lam_load(p + shape.place(14, stride))
    s15 = lam_load(p + shape.place(15, stride))
  }

  /// Stores the rows from `first` on.
  @inline(__always)
  func store(_ shape: TileShape, _ p: Pointer, _ stride: Int, from first: Int = 0) {
    @inline(__always) func put(_ index: Int, _ sum: Vector) {
      if index / shape.vectors >= first { lam_store(p + shape.place(index, stride), sum) }
    }
    put(0, s0)
    put(1, s1)
    put(2, s2)
    put(3, s3)
    put(4, s4)
    put(5, s5)
    put(6, s6)
    put(7, s7)
    put(8, s8)
    put(9, s9)
    put(10, s10)
    put(11, s11)
    put(12, s12)
    put(13, s13)
    put(14, s14)
    put(15, s15)
  }

  /// sums[r, c] += x[r]·z[c]: one term of the inner dimension.
  @inline(__always)
  mutating func add(_ shape: TileShape, _ x: ConstPointer, _ z: ConstPointer) {
    @inline(__always) func add(_ sum: inout Vector, _ index: Int) {
      sum = lam_multiply_add(
        splat(x[index / shape.vectors]), lam_load(z + index % shape.vectors * lanes), sum)
    }
    add(&s0, 0)
    add(&s1, 1)
    add(&s2, 2)
    add(&s3, 3)
    add(&s4, 4)
    add(&s5, 5)
    add(&s6, 6)
    add(&s7, 7)
    add(&s8, 8)
    add(&s9, 9)
    add(&s10, 10)
    add(&s11, 11)
    add(&s12, 12)
    add(&s13, 13)
    add(&s14, 14)
    add(&s15, 15)
  }
}
