/// Owns memory for a fixed number of scalars, aligned to 64 bytes: a cache line, and the widest vector register.
///
/// The memory is freed with the last reference. Who shares a buffer between threads orders the accesses themselves;
/// the class only keeps the memory alive.
public final class AlignedBuffer<Scalar: BitwiseCopyable & Sendable>: @unchecked Sendable {
  /// Element 0.
  public let baseAddress: UnsafeMutablePointer<Scalar>
  /// Number of elements.
  public let capacity: Int

  /// The alignment in bytes of every buffer.
  public static var alignment: Int { 64 }

  /// Allocates `capacity` elements, uninitialized: write before you read.
  ///
  /// - Precondition: `capacity` is not negative, and its bytes fit an Int.
  public init(uninitializedCapacity capacity: Int) {
    precondition(capacity >= 0, "a buffer cannot hold \(capacity) elements")
    let (bytes, overflow) = capacity.multipliedReportingOverflow(by: MemoryLayout<Scalar>.stride)
    precondition(!overflow, "\(capacity) elements do not fit the address space")
    // At least one cache line, so that an empty buffer has an address of its own.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, Self.alignment), alignment: Self.alignment)
    LargePages.prefer(memory, byteCount: bytes)
    baseAddress = memory.bindMemory(to: Scalar.self, capacity: max(capacity, 1))
    self.capacity = capacity
  }

  /// Allocates `capacity` elements whose bits are all zero.
  ///
  /// - Precondition: `capacity` is not negative, and its bytes fit an Int.
  public convenience init(zeroedCapacity capacity: Int) {
    self.init(uninitializedCapacity: capacity)
    zero()
  }

  /// Sets all bits to zero.
  public func zero() {
    let bytes = UnsafeMutableRawPointer(baseAddress)
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: capacity * MemoryLayout<Scalar>.stride)
    bytes.bindMemory(to: Scalar.self, capacity: max(capacity, 1))
  }

  deinit {
    UnsafeMutableRawPointer(baseAddress).deallocate()
  }
}
