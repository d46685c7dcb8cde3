import CPUFeatures
import Foundation
import Kernels
import Lamina

/// The machine and the settings that a measurement depends on; printed with every result.
public struct MachineCard: Sendable, Equatable, Encodable {
  /// The processor's brand.
  public var cpu: String
  /// The architecture: `x86-64`, with the level of its features, or `arm64`.
  public var architecture: String
  /// Processors in the process's affinity mask.
  public var processors: Int
  /// Processors' worth of time that the control group may use; nil: not limited.
  public var cgroupQuota: Double?
  /// The instruction set of Lamina's kernels.
  public var kernels: String
  /// The instruction sets that this CPU can run.
  public var availableKernels: [String]
  /// OpenBLAS's version.
  public var openBLASVersion: String
  /// How OpenBLAS was built, in its own words.
  public var openBLASConfiguration: String
  /// The core whose kernels OpenBLAS uses.
  public var blasCore: String
  /// The core that OpenBLAS took this CPU for, where Lamina had it choose a wider one.
  public var replacedBLASCore: String?
  /// Threads of one BLAS call; Lamina's own team calls it with one.
  public var blasThreads: Int
  /// Most members of Lamina's team unless an argument says otherwise.
  public var threads: Int
  /// The variables of the environment that change any of this.
  public var variables: [String: String]
  /// Lamina's version.
  public var laminaVersion: String
  /// The commit of Lamina's source tree; nil where the tree is gone or no repository.
  public var revision: String?
  /// The compiler that built the program.
  public var swiftVersion: String
  /// Whether the program was built for speed.
  public var build: String
  /// When the card was made, in UTC.
  public var date: String

  private enum CodingKeys: String, CodingKey {
    case cpu, architecture, processors, kernels, threads, variables, revision, build, date
    case cgroupQuota = "cgroup_quota"
    case availableKernels = "available_kernels"
    case openBLASVersion = "openblas_version"
    case openBLASConfiguration = "openblas_configuration"
    case blasCore = "blas_core"
    case replacedBLASCore = "replaced_blas_core"
    case blasThreads = "blas_threads"
    case laminaVersion = "lamina_version"
    case swiftVersion = "swift_version"
  }

  /// The card of this machine and process.
  ///
  /// - Throws: `InstructionSetError` where `LAMINA_KERNELS` is wrong.
  public init(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(InstructionSetError) {
    cpu = Self.brand
    architecture = Self.level
    processors = affinityProcessors()
    cgroupQuota = NeuralNetworks.cgroupQuota()
    kernels = try InstructionSet.chosen(environment: environment).rawValue
    availableKernels = InstructionSet.allCases.filter(\.isSupported).map(\.rawValue)
    openBLASVersion = BLAS.version
    openBLASConfiguration = BLAS.configuration
    blasCore = BLAS.coreName
    replacedBLASCore = BLAS.replacedCoreName
    blasThreads = BLAS.threads
    // A bad LAMINA_THREADS is for the advice to tell, not a reason to show no card.
    threads = (try? ThreadRequest(nil, environment: environment))?.mostMembers ?? ThreadRequest.timed.mostMembers
    variables = environment.filter { name, _ in
      ["OPENBLAS_", "LAMINA_", "GOTO_", "OMP_"].contains { name.hasPrefix($0) }
    }
    laminaVersion = Lamina.laminaVersion
    revision = SourceRevision.current()
    swiftVersion = Self.compiler
    build = Self.isOptimized ? "release" : "debug"
    date = Date().formatted(.iso8601)
  }

  /// The card in words.
  public var text: String {
    var rows = [
      ("CPU", "\(cpu.isEmpty ? "unknown" : cpu) (\(architecture))"),
      ("Processors", "\(processors) in the affinity mask, " + quotaText),
      ("Kernels", "\(kernels) (available: \(availableKernels.joined(separator: ", ")))"),
      (
        "OpenBLAS",
        "\(openBLASVersion), core \(blasCore)" + (replacedBLASCore.map { " (OpenBLAS by itself: \($0))" } ?? "")
      ),
      ("", openBLASConfiguration),
      ("Threads", teamText + "; \(blasThreads) in one BLAS call"),
    ]
    rows.append(
      (
        "Variables",
        variables.isEmpty
          ? "none that matter"
          : variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
      ))
    rows.append(
      (
        "Lamina",
        "\(laminaVersion)\(revision.map { " (\($0.prefix(10)))" } ?? ""), \(build) build, Swift \(swiftVersion), \(date)"
      ))
    return rows.map { name, value in
      "\(name)\(String(repeating: " ", count: max(0, 12 - name.count)))\(value)"
    }.joined(separator: "\n")
  }

  private var teamText: String {
    if case .exactly(let number)? = try? ThreadRequest(nil, environment: variables) {
      return "team of \(number) (LAMINA_THREADS)"
    }
    return threads == 1 ? "team of 1" : "team of 1 to \(threads), by timing each network's step"
  }

  private var quotaText: String {
    cgroupQuota.map { "control group pays for \(String(format: "%.2f", $0))" } ?? "control group sets no limit"
  }

  private static var brand: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      lamina_cpu_brand(buffer.baseAddress!, buffer.count)
      return String(cString: buffer.baseAddress!).trimmingCharacters(in: .whitespaces)
    }
  }

  private static var level: String {
    #if arch(x86_64)
      lamina_cpu_has_x86_64_v4() ? "x86-64-v4" : lamina_cpu_has_x86_64_v3() ? "x86-64-v3" : "x86-64"
    #elseif arch(arm64)
      "arm64"
    #else
      "unknown"
    #endif
  }

  private static var compiler: String {
    #if compiler(>=6.4)
      "6.4 or later"
    #elseif compiler(>=6.3)
      "6.3"
    #else
      "6.2"
    #endif
  }

  private static var isOptimized: Bool {
    var optimized = true
    // Evaluated in debug builds only.
    assert(
      {
        optimized = false
        return true
      }())
    return optimized
  }
}
