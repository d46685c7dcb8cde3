import Foundation
@_exported import KernelInterface

/// A scalar type that kernels exist for: Float and Double.
public protocol KernelScalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
  /// The kernels of `instructionSet`, which the CPU must support.
  static func kernels(for instructionSet: InstructionSet) -> KernelTable<Self>
}

extension KernelScalar {
  /// The kernels of the instruction set in force: `LAMINA_KERNELS`, or the widest that this CPU can run.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  public static func kernels() throws(InstructionSetError) -> KernelTable<Self> {
    // The one variable: a dictionary of all of them takes longer to make than a small model's answer.
    let name = getenv("LAMINA_KERNELS").map { String(cString: $0) }
    return kernels(for: try .chosen(environment: name.map { ["LAMINA_KERNELS": $0] } ?? [:]))
  }
}

// One table per instruction set, made when first asked for: a build's code may run only where the CPU supports it.
private enum FloatTables {
  static let portable = InstructionSet.portable.makeFloatTable()
  static let avx2 = InstructionSet.avx2.makeFloatTable()
  static let avx512 = InstructionSet.avx512.makeFloatTable()
  static let amx = InstructionSet.amx.makeFloatTable()
}

private enum DoubleTables {
  static let portable = InstructionSet.portable.makeDoubleTable()
  static let avx2 = InstructionSet.avx2.makeDoubleTable()
  static let avx512 = InstructionSet.avx512.makeDoubleTable()
  static let amx = InstructionSet.amx.makeDoubleTable()
}

extension Float: KernelScalar {
  /// The kernels of `instructionSet`.
  ///
  /// - Precondition: `instructionSet.isSupported`.
  public static func kernels(for instructionSet: InstructionSet) -> KernelTable<Float> {
    precondition(instructionSet.isSupported, "this CPU cannot run the \(instructionSet.rawValue) kernels")
    return switch instructionSet {
    case .portable: FloatTables.portable
    case .avx2: FloatTables.avx2
    case .avx512: FloatTables.avx512
    case .amx: FloatTables.amx
    }
  }
}

extension Double: KernelScalar {
  /// The kernels of `instructionSet`.
  ///
  /// - Precondition: `instructionSet.isSupported`.
  public static func kernels(for instructionSet: InstructionSet) -> KernelTable<Double> {
    precondition(instructionSet.isSupported, "this CPU cannot run the \(instructionSet.rawValue) kernels")
    return switch instructionSet {
    case .portable: DoubleTables.portable
    case .avx2: DoubleTables.avx2
    case .avx512: DoubleTables.avx512
    case .amx: DoubleTables.amx
    }
  }
}
