import Foundation
import Testing

@testable import NeuralNetworks

@Suite("Processors")
struct ProcessorsTests {
  @Test("There is at least one, and no more than the machine has")
  func available() {
    #expect((1...affinityProcessors()).contains(availableProcessors()))
    #expect(affinityProcessors() <= ProcessInfo.processInfo.processorCount)
  }

  @Test("The quota is the least of the group's and of those above it")
  func quota() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    let root = folder.appendingPathComponent("cgroup").path
    let membership = folder.appendingPathComponent("self").path
    func write(_ text: String, _ path: String) throws {
      let url = URL(fileURLWithPath: path)
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    func quota() -> Double? { cgroupQuota(root: root, membership: membership) }

    #expect(quota() == nil)
    try write("0::/user/session\n", membership)
    #expect(quota() == nil)
    try write("max 100000\n", root + "/cpu.max")
    try write("150000 100000\n", root + "/user/session/cpu.max")
    #expect(quota() == 1.5)
    try write("50000 100000\n", root + "/user/cpu.max")
    #expect(quota() == 0.5)
    // A group beside ours is none of our business; damaged files count as none.
    try write("1000 100000\n", root + "/other/cpu.max")
    try write("fifty 0\n", root + "/user/cpu.max")
    #expect(quota() == 1.5)

    try write("3:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n", membership)
    #expect(quota() == nil)
    try write("-1\n", root + "/cpu/cpu.cfs_quota_us")
    try write("100000\n", root + "/cpu/cpu.cfs_period_us")
    #expect(quota() == nil)
    try write("250000\n", root + "/cpu/docker/x/cpu.cfs_quota_us")
    try write("100000\n", root + "/cpu/docker/x/cpu.cfs_period_us")
    #expect(quota() == 2.5)
  }
}
