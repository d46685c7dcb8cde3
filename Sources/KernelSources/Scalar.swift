// These files are built once per instruction set and scalar type; see `kernelBuild` in Package.swift.

internal import CKernelShims

#if LAMINA_DOUBLE
  /// The scalar of this build.
  public typealias Scalar = Double
  typealias Vector = SIMD8<Double>
  typealias Integers = SIMD8<Int64>
#else
  /// The scalar of this build.
  public typealias Scalar = Float
  typealias Vector = SIMD16<Float>
  typealias Integers = SIMD16<Int32>
#endif

typealias Pointer = UnsafeMutablePointer<Scalar>
typealias ConstPointer = UnsafePointer<Scalar>

/// Lanes of a vector: 64 bytes' worth, one cache line.
@inline(__always) var lanes: Int { Vector.scalarCount }

/// `min` of integers: the library's is generic, and large functions leave a copy of it that all builds share.
@_transparent
func smaller(_ a: Int, _ b: Int) -> Int { a < b ? a : b }
