import CPUFeatures
import Kernels
import Testing

@Suite struct KernelTableTests {
  /// Every kernel of `group` is there but for those that `isMissing` names, which are not.
  private func expectFilled(_ group: Any, _ what: String, isMissing: (String) -> Bool = { _ in false }) {
    let members = Mirror(reflecting: group).children
    #expect(!members.isEmpty)
    for member in members {
      let isThere =
        Mirror(reflecting: member.value).displayStyle != .optional
        || Mirror(reflecting: member.value).children.count == 1
      let name = member.label ?? "?"
      #expect(isThere == !isMissing(name), "\(what).\(name) is \(isThere ? "there" : "missing")")
    }
  }

  private func expectFilled<S>(_ table: KernelTable<S>, _ what: String) {
    let groups = Mirror(reflecting: table).children.filter { Mirror(reflecting: $0.value).displayStyle == .class }
    #expect(groups.count >= 9)
    // Register tiles: all kinds with 32 registers of 64 bytes, those of six rows with sixteen of 32; else BLAS multiplies.
    let tiles = ["weightGradients", "layerProducts"]
    let (hasAMX, isNarrow) = (table.instructionSet == "amx", table.instructionSet == "avx2")
    let isWide = hasAMX || table.instructionSet == "avx512"
    let hasBytes = S.self == Float.self && isWide && lamina_cpu_has_avx512_vnni()
    let packing = ["packLeftTransposed", "packRight", "multiply"]
    let splits = hasBytes && hasAMX
    for group in groups where !tiles.contains(group.label ?? "") {
      expectFilled(group.value, "\(what).\(group.label ?? "?")") { name in
        switch group.label {
        case "byteProducts": !hasBytes || !hasAMX && (name.hasSuffix("Tiles") || name == "layOutByColumn")
        case "sparseProducts": !isNarrow
        case "packedProducts":
          name == "hasManyZeros" ? !isNarrow : !((isNarrow || isWide) && packing.contains(name)) && name != "layout"
        case "splitProducts": name == "hasManyZeros" || !splits && name != "layout"
        default: false
        }
      }
    }
    let (gradients, products) = (table.weightGradients, table.layerProducts)
    #expect((gradients.transposedProduct != nil) == (isWide || isNarrow), "\(what)")
    #expect((gradients.transposedProductAsking != nil) == isNarrow, "\(what)")
    #expect((gradients.transposedProductAdam != nil) == isWide, "\(what)")
    #expect((products.multiply != nil) == (isWide || isNarrow), "\(what)")
    #expect((products.multiplyByTransposed != nil) == (isWide || isNarrow), "\(what)")
  }

  @Test(arguments: supportedSets) func everyKernelIsInstalled(set: InstructionSet) {
    expectFilled(Float.kernels(for: set), "\(set), Float")
    expectFilled(Double.kernels(for: set), "\(set), Double")
  }
}
