/// The room between what different members of a team write.
///
/// A core's prefetchers run past the end of what it goes through, by strides too and over the ends of pages. Where another
/// core's memory lies there, they fetch lines that the other is about to write, and it must fetch them back. Between
/// processors that are far from each other, a step of 784-128-64-10 at batch 32 took 66 µs without room, 63 with 4 KiB
/// and 57 with 16 KiB; with more it is no faster.
enum MemberSpacing {
  /// Bytes that nobody uses after `bytes` that one member does: as many, within limits.
  ///
  /// 16 KiB after everything would cost small networks 3 % on one thread, for the addresses of pages.
  private static func room(after bytes: Int) -> Int { min(max(bytes, 1 << 12), 1 << 14) }

  /// `count` values and the room after them: values of another member that follow begin at a pair of cache lines.
  static func spaced<Value>(_ count: Int, of _: Value.Type) -> Int {
    let (unit, stride) = (128 / MemoryLayout<Value>.stride, MemoryLayout<Value>.stride)
    return (count + room(after: count * stride) / stride + unit - 1) / unit * unit
  }

  /// The most that `spaced` adds.
  static func most<Value>(of _: Value.Type) -> Int { (room(after: .max) + 128) / MemoryLayout<Value>.stride }
}
