import CPUFeatures
import Foundation

/// Processors that this process may run on: its affinity, and no more than the cgroup's CPU quota pays for.
public func availableProcessors() -> Int {
  max(1, min(affinityProcessors(), cgroupQuota().map { Int($0.rounded(.up)) } ?? .max))
}

/// Processors in the process's affinity mask.
public func affinityProcessors() -> Int {
  let count = Int(lamina_affinity_processors())
  return count > 0 ? count : ProcessInfo.processInfo.activeProcessorCount
}

/// Processors' worth of time that the control group may use, or nil where it is not limited.
///
/// The least of the limits of the process's group and of those above it: `cpu.max` of version 2, `cpu.cfs_quota_us` of
/// version 1, where they are usually mounted.
public func cgroupQuota() -> Double? { cgroupQuota(root: "/sys/fs/cgroup", membership: "/proc/self/cgroup") }

/// The same with the control groups mounted at `root` and the process's groups listed in the file `membership`.
package func cgroupQuota(root: String, membership: String) -> Double? {
  func words(_ path: String) -> [String]? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    return text.split(whereSeparator: \.isWhitespace).map(String.init)
  }
  func unified(_ folder: String) -> Double? {
    guard let line = words(folder + "/cpu.max"), line.count == 2, let quota = Double(line[0]),
      let period = Double(line[1]), quota > 0, period > 0
    else { return nil }
    return quota / period
  }
  func legacy(_ folder: String) -> Double? {
    guard let quota = words(folder + "/cpu.cfs_quota_us")?.first.flatMap(Double.init), quota > 0,
      let period = words(folder + "/cpu.cfs_period_us")?.first.flatMap(Double.init), period > 0
    else { return nil }
    return quota / period
  }
  // Lines are number:controllers:path; version 2 has no controllers. In a container the path may be the host's and lead
  // nowhere: the mount's own root is looked at too.
  var limits = [unified(root), legacy(root + "/cpu")]
  for line in (try? String(contentsOfFile: membership, encoding: .utf8))?.split(separator: "\n") ?? [] {
    let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3 else { continue }
    let isLegacy = parts[1].split(separator: ",").contains("cpu")
    guard isLegacy || parts[1].isEmpty else { continue }
    var folder = isLegacy ? root + "/cpu" : root
    for part in parts[2].split(separator: "/") where part != ".." {
      folder += "/" + part
      limits.append(isLegacy ? legacy(folder) : unified(folder))
    }
  }
  return limits.compactMap(\.self).min()
}
