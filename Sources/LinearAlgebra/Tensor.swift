/// A dense row-major array of Float or Double with any number of axes and value semantics.
///
/// Element (i₀, i₁, …) of a tensor of shape [n₀, n₁, …] is scalar number (i₀·n₁ + i₁)·n₂ + …: the last axis is
/// contiguous. The memory is aligned to 64 bytes. A copy shares it until one of the two is written to. An axis may
/// have length 0. A matrix is a tensor of rank 2, `[rows, columns]`.
public struct Tensor<Scalar: BLASScalar>: Sendable, Equatable {
  /// The length of each axis.
  public let shape: [Int]
  // Written only after `makeUnique`, so never while another tensor, perhaps of another thread, shares it.
  @usableFromInline var buffer: AlignedBuffer<Scalar>

  @usableFromInline
  init(shape: [Int], buffer: AlignedBuffer<Scalar>) {
    self.shape = shape
    self.buffer = buffer
  }

  /// The number of scalars.
  @inlinable public var count: Int { buffer.capacity }
  /// The number of axes, at least 1.
  @inlinable public var rank: Int { shape.count }

  /// The number of scalars of `shape`; nil where no tensor has that shape.
  @usableFromInline
  static func validCount(of shape: [Int]) -> Int? {
    guard !shape.isEmpty, shape.allSatisfy({ $0 >= 0 }) else { return nil }
    var count = 1
    for length in shape where length != 0 {
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      if overflow || product > Int.max / MemoryLayout<Scalar>.stride { return nil }
      count = product
    }
    return shape.contains(0) ? 0 : count
  }

  @usableFromInline
  static func requiredCount(of shape: [Int]) -> Int {
    guard let count = validCount(of: shape) else { preconditionFailure("\(TensorError.invalidShape(shape))") }
    return count
  }

  // MARK: Making tensors

  /// A tensor whose memory the closure fills.
  ///
  /// - Parameters:
  ///   - shape: the length of each axis.
  ///   - initialize: called once with the uninitialized scalars; it must write every one of them.
  /// - Precondition: `shape` has an axis and no negative length.
  @inlinable
  public init<Failure: Error>(
    shape: [Int], initializingWith initialize: (UnsafeMutableBufferPointer<Scalar>) throws(Failure) -> Void
  ) throws(Failure) {
    let buffer = AlignedBuffer<Scalar>(uninitializedCapacity: Self.requiredCount(of: shape))
    try initialize(UnsafeMutableBufferPointer(start: buffer.baseAddress, count: buffer.capacity))
    self.init(shape: shape, buffer: buffer)
  }

  /// A tensor with the same scalar everywhere.
  ///
  /// - Precondition: `shape` has an axis and no negative length.
  @inlinable
  public init(shape: [Int], repeating value: Scalar) {
    self.init(shape: shape) { $0.initialize(repeating: value) }
  }

  /// A tensor of the given scalars in row-major order.
  ///
  /// - Throws: `TensorError` where the shape is invalid or needs another number of scalars.
  public init(shape: [Int], scalars: [Scalar]) throws(TensorError) {
    guard let count = Self.validCount(of: shape) else { throw .invalidShape(shape) }
    guard count == scalars.count else {
      throw .countMismatch(operation: "Tensor(shape:scalars:)", shape: shape, expected: count, found: scalars.count)
    }
    self.init(shape: shape) { _ = $0.initialize(from: scalars) }
  }

  /// A matrix of the given rows.
  ///
  /// No row at all gives shape [0, 0].
  ///
  /// - Throws: `TensorError.raggedRows` where the rows differ in length.
  public init(_ rows: [[Scalar]]) throws(TensorError) {
    let columns = rows.first?.count ?? 0
    if let row = rows.firstIndex(where: { $0.count != columns }) {
      throw .raggedRows(row: row, expected: columns, found: rows[row].count)
    }
    try self.init(shape: [rows.count, columns], scalars: Array(rows.joined()))
  }

  /// A tensor whose scalar number i, in row-major order, is `generator(i)`; called in order.
  ///
  /// - Precondition: `shape` has an axis and no negative length.
  @inlinable
  public init(shape: [Int], generator: (Int) -> Scalar) {
    self.init(shape: shape) { scalars in
      for index in scalars.indices { scalars.initializeElement(at: index, to: generator(index)) }
    }
  }

  /// The same numbers in another scalar type, rounded to nearest where it is narrower.
  public init<Other: BLASScalar>(_ other: Tensor<Other>) {
    let buffer = AlignedBuffer<Scalar>(uninitializedCapacity: other.count)
    // By way of Double, which holds every scalar exactly, in pieces that stay in the L1 cache.
    withUnsafeTemporaryAllocation(of: Double.self, capacity: 1024) { piece in
      other.withUnsafeBufferPointer { source in
        for start in stride(from: 0, to: source.count, by: piece.count) {
          let length = Swift.min(piece.count, source.count - start)
          Other.unsafeWiden(length, source.baseAddress! + start, piece.baseAddress!)
          Scalar.unsafeRound(length, piece.baseAddress!, buffer.baseAddress + start)
        }
      }
    }
    self.init(shape: other.shape, buffer: buffer)
  }

  /// A tensor of zeros.
  ///
  /// - Precondition: `shape` has an axis and no negative length.
  public static func zeros(_ shape: [Int]) -> Tensor {
    Tensor(shape: shape, buffer: AlignedBuffer(zeroedCapacity: requiredCount(of: shape)))
  }

  /// The square matrix with ones on the diagonal and zeros elsewhere.
  ///
  /// - Precondition: `size` is not negative.
  public static func identity(_ size: Int) -> Tensor {
    Tensor(shape: [size, size]) { $0 / size == $0 % size ? 1 : 0 }
  }

  // MARK: Access

  /// All scalars in row-major order, copied.
  public var scalars: [Scalar] { withUnsafeBufferPointer { Array($0) } }

  // One, two and more indices are subscripts of their own, because an array of indices costs an allocation.

  /// The element of a vector at the given index.
  ///
  /// - Precondition: the rank is 1 and the index lies within the axis.
  @inlinable
  public subscript(index: Int) -> Scalar {
    get { buffer.baseAddress[offset(index)] }
    set {
      let offset = offset(index)
      makeUnique()
      buffer.baseAddress[offset] = newValue
    }
  }

  /// The element of a matrix at the given row and column.
  ///
  /// - Precondition: the rank is 2 and both indices lie within their axes.
  @inlinable
  public subscript(row: Int, column: Int) -> Scalar {
    get { buffer.baseAddress[offset(row, column)] }
    set {
      let offset = offset(row, column)
      makeUnique()
      buffer.baseAddress[offset] = newValue
    }
  }

  /// The element at the given indices, one for each axis.
  ///
  /// - Precondition: there are `rank` indices, each within its axis.
  @inlinable
  public subscript(first: Int, second: Int, third: Int, others: Int...) -> Scalar {
    get { buffer.baseAddress[offset(of: [first, second, third] + others)] }
    set {
      let offset = offset(of: [first, second, third] + others)
      makeUnique()
      buffer.baseAddress[offset] = newValue
    }
  }

  @inlinable
  func offset(_ index: Int) -> Int {
    guard shape.count == 1, index >= 0, index < shape[0] else { failOutside([index]) }
    return index
  }

  @inlinable
  func offset(_ row: Int, _ column: Int) -> Int {
    guard shape.count == 2, row >= 0, row < shape[0], column >= 0, column < shape[1] else {
      failOutside([row, column])
    }
    return row * shape[1] + column
  }

  @inlinable
  func offset(of indices: [Int]) -> Int {
    guard indices.count == shape.count else { failOutside(indices) }
    var offset = 0
    for (index, length) in zip(indices, shape) {
      guard index >= 0, index < length else { failOutside(indices) }
      offset = offset * length + index
    }
    return offset
  }

  @usableFromInline
  func failOutside(_ indices: [Int]) -> Never {
    preconditionFailure("indices \(indices) lie outside shape \(shape); give one within each axis")
  }

  /// Calls the closure with the scalars in row-major order; the pointer must not escape.
  @inlinable
  public func withUnsafeBufferPointer<Result, Failure: Error>(
    _ body: (UnsafeBufferPointer<Scalar>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    defer { withExtendedLifetime(buffer) {} }
    return try body(UnsafeBufferPointer(start: buffer.baseAddress, count: count))
  }

  /// Calls the closure with the scalars in row-major order for reading and writing; the pointer must not escape.
  ///
  /// Copies the memory first where another tensor shares it.
  @inlinable
  public mutating func withUnsafeMutableBufferPointer<Result, Failure: Error>(
    _ body: (UnsafeMutableBufferPointer<Scalar>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    makeUnique()
    defer { withExtendedLifetime(buffer) {} }
    return try body(UnsafeMutableBufferPointer(start: buffer.baseAddress, count: count))
  }

  @inlinable
  mutating func makeUnique() {
    if isKnownUniquelyReferenced(&buffer) { return }
    let copy = AlignedBuffer<Scalar>(uninitializedCapacity: buffer.capacity)
    copy.baseAddress.initialize(from: buffer.baseAddress, count: buffer.capacity)
    buffer = copy
  }

  /// Whether the shapes are equal and so is every pair of scalars; as for numbers, NaN equals nothing.
  @inlinable
  public static func == (left: Tensor, right: Tensor) -> Bool {
    guard left.shape == right.shape else { return false }
    return left.withUnsafeBufferPointer { a in
      right.withUnsafeBufferPointer { b in a.indices.allSatisfy { a[$0] == b[$0] } }
    }
  }

  // MARK: Changing the shape

  /// The same scalars in the same order under another shape; the memory is shared, nothing is copied.
  ///
  /// - Throws: `TensorError` where the shape is invalid or holds another number of scalars.
  public func reshaped(to shape: [Int]) throws(TensorError) -> Tensor {
    guard let count = Self.validCount(of: shape) else { throw .invalidShape(shape) }
    guard count == self.count else {
      throw .countMismatch(operation: "reshaped(to:)", shape: shape, expected: count, found: self.count)
    }
    return Tensor(shape: shape, buffer: buffer)
  }

  /// The matrix with rows and columns exchanged, copied.
  ///
  /// - Throws: `TensorError.rankMismatch` where the rank is not 2.
  @inlinable
  public func transposed() throws(TensorError) -> Tensor {
    guard rank == 2 else { throw .rankMismatch(operation: "transposed()", expected: 2, shape: shape) }
    let (rows, columns) = (shape[0], shape[1])
    return withUnsafeBufferPointer { source in
      Tensor(shape: [columns, rows]) { target in
        // Squares that fit the L1 cache on both sides: one of the two is always read or written with a stride.
        let block = 32
        for firstRow in stride(from: 0, to: rows, by: block) {
          for firstColumn in stride(from: 0, to: columns, by: block) {
            for row in firstRow..<Swift.min(firstRow + block, rows) {
              for column in firstColumn..<Swift.min(firstColumn + block, columns) {
                target.initializeElement(at: column * rows + row, to: source[row * columns + column])
              }
            }
          }
        }
      }
    }
  }

  /// The slices `range` of the first axis (the rows of a matrix), copied.
  ///
  /// - Precondition: `range` lies within the first axis.
  public func rows(_ range: Range<Int>) -> Tensor {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= shape[0], "rows \(range) lie outside shape \(shape)")
    let rowCount = shape[0] == 0 ? 0 : count / shape[0]
    return withUnsafeBufferPointer { source in
      Tensor(shape: [range.count] + shape.dropFirst()) { target in
        _ = target.initialize(from: source[range.lowerBound * rowCount..<range.upperBound * rowCount])
      }
    }
  }
}
