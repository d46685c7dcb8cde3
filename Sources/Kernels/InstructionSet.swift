import CPUFeatures
import Foundation
import KernelInterface
import KernelsPortableDouble
import KernelsPortableFloat

#if arch(x86_64)
  import KernelsAVX2Double
  import KernelsAVX2Float
  import KernelsAVX512Double
  import KernelsAVX512Float
#endif

/// The instruction sets that the kernels are built for, narrowest first.
public enum InstructionSet: String, CaseIterable, Sendable, Comparable {
  /// The compiler's baseline: SSE2 on x86-64, NEON on arm64.
  case portable
  /// x86-64-v3: AVX2 and FMA.
  case avx2
  /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL; products of bytes where there is VNNI too.
  case avx512
  /// The same with products in tiles of bytes and bfloat16: AMX-INT8 and AMX-BF16.
  case amx

  /// Whether this CPU and operating system can run it.
  public var isSupported: Bool {
    switch self {
    case .portable: true
    case .avx2: Self.hasAVX2
    case .avx512: Self.hasAVX512
    case .amx: Self.hasAMX
    }
  }

  // Asked once: in a virtual machine cpuid takes some 20 µs.
  private static let hasAVX2 = lamina_cpu_has_x86_64_v3()
  private static let hasAVX512 = lamina_cpu_has_x86_64_v4()
  private static let hasByteProducts = lamina_cpu_has_avx512_vnni()
  private static let hasAMX = lamina_cpu_has_amx()

  /// The widest that this CPU can run.
  public static var widestSupported: InstructionSet { allCases.last(where: \.isSupported) ?? .portable }

  /// The one that `LAMINA_KERNELS` names, or the widest supported.
  ///
  /// - Throws: `InstructionSetError` where the variable names none, or one that this CPU lacks.
  public static func chosen(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(InstructionSetError) -> InstructionSet {
    guard let name = environment["LAMINA_KERNELS"], !name.isEmpty else { return widestSupported }
    guard let named = InstructionSet(rawValue: name) else { throw .unknown(name) }
    guard named.isSupported else { throw .unsupported(named) }
    return named
  }

  /// Ordered by width.
  public static func < (left: InstructionSet, right: InstructionSet) -> Bool {
    (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
  }

  func makeFloatTable() -> KernelTable<Float> {
    let table = KernelTable<Float>(instructionSet: rawValue)
    switch self {
    #if arch(x86_64)
      case .avx512, .amx: KernelsAVX512Float.installKernels(in: table)
      case .avx2: KernelsAVX2Float.installKernels(in: table)
    #endif
    default: KernelsPortableFloat.installKernels(in: table)
    }
    // Beyond x86-64-v4: not every CPU that runs the build has them.
    if !Self.hasByteProducts { table.byteProducts.remove() }
    if self != .amx { table.byteProducts.removeTiles() }
    if self != .amx { table.splitProducts.remove() }
    return table
  }

  func makeDoubleTable() -> KernelTable<Double> {
    let table = KernelTable<Double>(instructionSet: rawValue)
    switch self {
    #if arch(x86_64)
      case .avx512, .amx: KernelsAVX512Double.installKernels(in: table)
      case .avx2: KernelsAVX2Double.installKernels(in: table)
    #endif
    default: KernelsPortableDouble.installKernels(in: table)
    }
    return table
  }
}

/// Why `LAMINA_KERNELS` was refused.
public enum InstructionSetError: Error, Equatable, CustomStringConvertible {
  /// No instruction set has this name.
  case unknown(String)
  /// This CPU lacks it.
  case unsupported(InstructionSet)

  /// What is wrong and what to do.
  public var description: String {
    switch self {
    case .unknown(let name):
      "LAMINA_KERNELS=\(name): no such instruction set; use portable, avx2, avx512 or amx, or unset the variable"
    case .unsupported(let set):
      "LAMINA_KERNELS=\(set.rawValue): this CPU cannot run it; "
        + "the widest it can is \(InstructionSet.widestSupported.rawValue)"
    }
  }
}
