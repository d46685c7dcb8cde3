import Foundation
import Kernels
import Lamina

/// Something that costs speed, and what to do about it.
public struct Advice: Sendable, Equatable, Encodable {
  /// What is wrong.
  public var warning: String
  /// What helps.
  public var fix: String

  /// All that a card gives reason to say; empty where nothing is amiss.
  public static func all(for card: MachineCard) -> [Advice] {
    [
      narrowCore(card), cacheSize(card), narrowKernels(card), quota(card), dataFolder(card), debugBuild(card),
      teamSize(card),
    ].compactMap { $0 }
  }

  /// What to say about a team of `threads`; nil where each thread has a processor, or the number is left to Lamina.
  public static func oversubscription(threads: Int?, processors: Int = availableProcessors()) -> Advice? {
    guard let threads, threads > processors else { return nil }
    return Advice(
      warning: "\(threads) threads on \(processors) processor\(processors == 1 ? "" : "s") wait for each other",
      fix: "train with --threads \(processors) or fewer")
  }

  /// The cores of OpenBLAS with AVX-512 and with AVX2 kernels; the others have neither.
  private static let wideCores = ["skylakex", "cooperlake", "sapphirerapids"]
  private static let middleCores = ["haswell", "zen", "excavator"]

  private static func width(ofCore core: String) -> InstructionSet {
    let core = core.lowercased()
    return wideCores.contains(core) ? .avx512 : middleCores.contains(core) ? .avx2 : .portable
  }

  private static func narrowCore(_ card: MachineCard) -> Advice? {
    guard card.architecture.hasPrefix("x86-64"),
      // No core of OpenBLAS multiplies floats in tiles.
      let widest = card.availableKernels.compactMap(InstructionSet.init(rawValue:)).filter({ $0 <= .avx512 }).max(),
      width(ofCore: card.blasCore) < widest
    else { return nil }
    let loss = width(ofCore: card.blasCore) == .portable ? "ten times" : "twice"
    let what =
      "OpenBLAS runs its kernels for the core \(card.blasCore), but this CPU can run \(widest.rawValue): "
      + "matrix products take up to \(loss) as long"
    if let value = card.variables["OPENBLAS_CORETYPE"] {
      return Advice(warning: "\(what) (OPENBLAS_CORETYPE=\(value) asks for it)", fix: "unset OPENBLAS_CORETYPE")
    }
    return Advice(
      warning: what,
      fix: "set OPENBLAS_CORETYPE=\(widest == .avx512 ? "SkylakeX" : "Haswell"), or install a newer OpenBLAS")
  }

  private static func cacheSize(_ card: MachineCard) -> Advice? {
    guard let value = card.variables["OPENBLAS_L2_SIZE"] else { return nil }
    return Advice(
      warning: "OPENBLAS_L2_SIZE=\(value) overrides the size of the L2 cache, by which OpenBLAS cuts its products",
      fix: "unset OPENBLAS_L2_SIZE")
  }

  private static func narrowKernels(_ card: MachineCard) -> Advice? {
    guard let widest = card.availableKernels.last, card.kernels != widest else { return nil }
    return Advice(
      warning: "LAMINA_KERNELS=\(card.kernels) keeps Lamina's kernels narrower than this CPU can run (\(widest))",
      fix: "unset LAMINA_KERNELS")
  }

  private static func quota(_ card: MachineCard) -> Advice? {
    guard let quota = card.cgroupQuota, quota < Double(card.processors) else { return nil }
    return Advice(
      warning: String(
        format: "the control group pays for %.2f processors of the %d in sight: more threads than that are stopped "
          + "again and again", quota, card.processors),
      fix: quota < 2
        ? "train with --threads 1, or raise the CPU limit of the container"
        : "train with --threads \(Int(quota)), or raise the CPU limit of the container")
  }

  private static func teamSize(_ card: MachineCard) -> Advice? {
    guard let value = card.variables["LAMINA_THREADS"], !value.isEmpty else { return nil }
    do {
      let request = try ThreadRequest(nil, environment: card.variables)
      guard request.mostMembers > card.processors else { return nil }
      return Advice(
        warning: "LAMINA_THREADS=\(value) asks for more threads than there are processors (\(card.processors)): "
          + "they wait for each other", fix: "unset LAMINA_THREADS, or set it to \(card.processors) or less")
    } catch {
      return Advice(warning: "\(error)", fix: "unset LAMINA_THREADS")
    }
  }

  private static func dataFolder(_ card: MachineCard) -> Advice? {
    guard let folder = card.variables["LAMINA_DATA"] else { return nil }
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue { return nil }
    return Advice(warning: "LAMINA_DATA=\(folder) is no folder", fix: "give one that exists, or unset LAMINA_DATA")
  }

  private static func debugBuild(_ card: MachineCard) -> Advice? {
    guard card.build == "debug" else { return nil }
    return Advice(
      warning: "this is a debug build: all but the kernels runs unoptimized", fix: "build with swift build -c release")
  }
}
