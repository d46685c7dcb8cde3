import Foundation

/// The git revision of a source tree, read from its files: no git is needed.
enum SourceRevision {
  /// The commit that is checked out in the tree this file was compiled from; nil where that is gone or no repository.
  ///
  /// A package cannot record the commit it is built from, so this is the tree's state now, which may be newer than the
  /// program.
  static func current() -> String? {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return of(root)
  }

  /// The commit that is checked out in the repository or linked worktree at `root`.
  static func of(_ root: URL) -> String? {
    var folder = root.appendingPathComponent(".git")
    // A linked worktree or submodule has a file that names the folder.
    if let line = firstLine(folder), line.hasPrefix("gitdir: ") {
      folder = URL(fileURLWithPath: absolute(String(line.dropFirst(8)), in: root))
    }
    guard let head = firstLine(folder.appendingPathComponent("HEAD")) else { return nil }
    guard head.hasPrefix("ref: ") else { return commit(head) }
    let reference = String(head.dropFirst(5))
    // Branches of a worktree lie in the main repository.
    let common = firstLine(folder.appendingPathComponent("commondir"))
      .map { URL(fileURLWithPath: absolute($0, in: folder)) }
    for place in [folder, common].compactMap({ $0 }) {
      if let line = firstLine(place.appendingPathComponent(reference)) { return commit(line) }
      let packed = try? String(contentsOf: place.appendingPathComponent("packed-refs"), encoding: .utf8)
      for line in (packed ?? "").split(separator: "\n") where line.hasSuffix(" \(reference)") {
        return commit(String(line.prefix { $0 != " " }))
      }
    }
    return nil
  }

  private static func absolute(_ path: String, in folder: URL) -> String {
    path.hasPrefix("/") ? path : "\(folder.path)/\(path)"
  }

  private static func firstLine(_ file: URL) -> String? {
    guard let text = try? String(contentsOf: file, encoding: .utf8) else { return nil }
    return text.split(separator: "\n").first.map { $0.trimmingCharacters(in: .whitespaces) }
  }

  private static func commit(_ word: String) -> String? {
    word.count >= 40 && word.allSatisfy(\.isHexDigit) ? word : nil
  }
}
