extension Sequential {
  /// A table of the layers with their output shapes and numbers of parameters, and the totals.
  ///
  /// The layers of a block come before the block, whose own line is its addition.
  ///
  /// - Throws: `ModelError.notBuilt` before the model is built.
  public func summary() throws -> String {
    guard let network else { throw ModelError.notBuilt }
    let header = ["Layer", "Kind", "Output shape", "Parameters"]
    let rows = network.allLayers.map { layer in
      let shape = "(batch, " + layer.outputShape.map(String.init).joined(separator: ", ") + ")"
      let count = layer.parameters.reduce(0) { $0 + network.records[$1].specification.shape.reduce(1, *) }
      return [layer.name, layer.kind, shape, grouped(count)]
    }
    let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      let padded = cells.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - cells[column].count)
        return column == 3 ? space + cells[column] : cells[column] + space
      }
      return padded.joined(separator: "  ")
    }
    let rule = String(repeating: "─", count: widths.reduce(6, +))
    let total = parameterCount
    let trainable = trainableParameterCount
    return
      ([line(header), rule] + rows.map(line) + [
        rule,
        "Parameters: \(grouped(total)), trainable: \(grouped(trainable)), "
          + "not trainable: \(grouped(total - trainable))",
      ]).joined(separator: "\n")
  }

  private func grouped(_ number: Int) -> String {
    let digits = Array(String(number))
    return digits.indices.reduce(into: "") { text, index in
      if index > 0 && (digits.count - index) % 3 == 0 { text += "," }
      text.append(digits[index])
    }
  }
}
