import Foundation
import Testing

/// Scripts that build or emulate for minutes, one after another.
@Suite(.serialized) struct ScriptTests {
  /// A separate package depends on a version of this one, builds, and trains; in folders of its own.
  @Test(.enabled(if: isCheckout)) func packageIsUsableByVersion() throws {
    let result = try Program.run(executable: "\(Program.packageFolder)/scripts/check-dependency", [])
    #expect(result.status == 0, "\(result.output.suffix(4000))\n\(result.errors.suffix(4000))")
    #expect(result.output.contains("loss fell"))
  }

  /// Nothing built for a wide instruction set runs on a narrower CPU.
  @Test(.enabled(if: hasEmulator)) func programRunsOnNarrowCPUs() throws {
    let result = try Program.run(
      executable: "\(Program.packageFolder)/scripts/check-narrow-cpus", [],
      environment: ["LAMINA_BINARY": Program.path])
    #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    #expect(result.output.contains("Nehalem trains with the portable kernels"))
    #expect(result.output.contains("Haswell trains with the avx2 kernels"))
  }
}

/// Whether the package is a git checkout, from which the script makes its version.
private let isCheckout = FileManager.default.fileExists(atPath: "\(Program.packageFolder)/.git")

/// Whether other CPUs can be emulated here.
private let hasEmulator: Bool = {
  #if os(Linux) && arch(x86_64)
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/qemu-x86_64") }
  #else
    return false
  #endif
}()
