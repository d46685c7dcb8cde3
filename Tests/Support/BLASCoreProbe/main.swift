import Foundation
import LinearAlgebra
import OpenBLASCore

/// Has OpenBLAS take this CPU for one of its oldest, chooses again as at the start of a program, and prints what came of it
/// as one JSON object.
///
/// A program of its own because nothing else in the process may call OpenBLAS meanwhile.

/// How many entries of a product with whole blocks and what is left of them are wrong; its sums are exact.
func wrongEntries() throws -> Int {
  let (rows, columns, depth) = (67, 45, 131)
  let left = Tensor<Float>(shape: [rows, depth]) { Float(($0 * 37) % 11) - 5 }
  let right = Tensor<Float>(shape: [depth, columns]) { Float(($0 * 53) % 13) - 6 }
  let result = try matmul(left, right)
  return (0..<rows).reduce(0) { wrong, row in
    wrong
      + (0..<columns).count { column in
        let sum = (0..<depth).reduce(Float(0)) { $0 + left[row, $1] * right[$1, column] }
        return result[row, column] != sum
      }
  }
}

var report: [String: String] = ["start": BLAS.coreName, "by itself": BLAS.replacedCoreName ?? BLAS.coreName]
report["wrong"] = "\(try wrongEntries())"
if lamina_force_openblas_core("Prescott") {
  report["forced"] = BLAS.coreName
  report["wrong, forced"] = "\(try wrongEntries())"
  let choice = lamina_widen_openblas_core()
  report["choice"] = choice == lamina_core_widened ? "widened" : choice == lamina_core_kept ? "kept" : "stays narrow"
  report["widened"] = BLAS.coreName
  report["wrong, widened"] = "\(try wrongEntries())"
  setenv("OPENBLAS_CORETYPE", "Prescott", 1)
  _ = lamina_force_openblas_core("Prescott")
  report["choice with the variable"] = lamina_widen_openblas_core() == lamina_core_kept ? "kept" : "changed"
  report["variable"] = ProcessInfo.processInfo.environment["OPENBLAS_CORETYPE"] ?? ""
}
print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
