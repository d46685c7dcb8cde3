internal import COpenBLAS
internal import OpenBLASCore

/// The BLAS library in use, OpenBLAS, and its settings, which hold for the whole process.
public enum BLAS {
  // Lamina's own threads each call BLAS for their part of a product, and the bits of a result must not depend on how
  // many threads BLAS would pick, so it starts with one.
  private static let startWithOneThread: Void = openblas_set_num_threads(1)

  /// Sets the number of threads to one, the first time only.
  ///
  /// Everything in Lamina that calls BLAS does this first; a number set later through `threads` stays. It only
  /// concerns callers of the unchecked `BLASScalar` methods. Costs a load and a branch.
  public static func prepare() { _ = startWithOneThread }

  /// The number of threads of a single BLAS or LAPACK call; 1 until it is set, whatever `OPENBLAS_NUM_THREADS` says.
  ///
  /// OpenBLAS caps it at the number it was built for. Set it while no BLAS call runs.
  ///
  /// - Precondition: the new value is at least 1.
  public static var threads: Int {
    get {
      prepare()
      return Int(openblas_get_num_threads())
    }
    set {
      precondition(newValue >= 1, "BLAS cannot run on \(newValue) threads; give at least 1")
      prepare()
      openblas_set_num_threads(Int32(clamping: newValue))
    }
  }

  /// The processor core that OpenBLAS's kernels are chosen for, for instance `Haswell`.
  ///
  /// OpenBLAS decides when it is loaded: from the CPU, or from the variable `OPENBLAS_CORETYPE`. Where it took a CPU newer
  /// than itself for an older one and its vectors are wider, Lamina has it decide again before `main`, for a core with such
  /// vectors; a value of the variable is left as it is.
  public static var coreName: String { String(cString: openblas_get_corename()) }

  /// The core that OpenBLAS took this CPU for by itself, where Lamina replaced it; nil where it was left alone.
  public static var replacedCoreName: String? {
    guard lamina_openblas_core_choice() == lamina_core_widened else { return nil }
    return String(cString: lamina_openblas_detected_core())
  }

  /// How OpenBLAS was built, in its own words: version, options, core and the largest number of threads.
  public static var configuration: String { String(cString: openblas_get_config()) }

  /// OpenBLAS's version, for instance `0.3.21`; `unknown` where the configuration does not give it.
  public static var version: String {
    let words = configuration.split(separator: " ")
    return words.count > 1 && words[0] == "OpenBLAS" ? String(words[1]) : "unknown"
  }
}
