// swift-tools-version: 6.2
import PackageDescription

// MARK: Instruction sets

/// One build of the files in `Sources/KernelSources` for one instruction set and one scalar type.
///
/// The flags reach the C shims (`-Xcc`), from which Swift takes its target features; `-O` keeps the loops fast in
/// debug builds too. All builds share their sources through symbolic links, so a kernel is written once.
func kernelBuild(_ instructionSet: String, _ scalar: String, _ machineFlags: [String]) -> Target {
  // Vectors are passed between functions of one build alone, which agree on how (-Wpsabi warns that others might not).
  var flags = ["-O", "-wmo", "-num-threads", "2", "-disable-batch-mode", "-Xcc", "-Wno-psabi"]
  flags += machineFlags.flatMap { ["-Xcc", $0] }
  if instructionSet == "AVX512", scalar == "Float" {
    flags += ["-DLAMINA_BYTE_PRODUCTS", "-Xcc", "-DLAMINA_BYTE_PRODUCTS=1"]
    flags += ["-DLAMINA_SPLIT_PRODUCTS", "-Xcc", "-DLAMINA_SPLIT_PRODUCTS=1"]
  }
  if instructionSet == "AVX2" { flags += ["-DLAMINA_SIX_ROWS", "-Xcc", "-DLAMINA_SIX_ROWS=1"] }
  if instructionSet != "Portable" { flags += ["-DLAMINA_PACKED_GRADIENTS", "-Xcc", "-DLAMINA_PACKED_GRADIENTS=1"] }
  if scalar == "Double" { flags += ["-DLAMINA_DOUBLE", "-Xcc", "-DLAMINA_DOUBLE=1"] }
  return .target(
    name: "Kernels\(instructionSet)\(scalar)",
    dependencies: ["CKernelShims", "KernelInterface"],
    path: "Sources/KernelVariants/\(instructionSet)\(scalar)",
    swiftSettings: [.unsafeFlags(flags)])
}

var kernelBuilds = [kernelBuild("Portable", "Float", []), kernelBuild("Portable", "Double", [])]
#if arch(x86_64)
  for scalar in ["Float", "Double"] {
    kernelBuilds.append(kernelBuild("AVX2", scalar, ["-march=x86-64-v3"]))
    kernelBuilds.append(kernelBuild("AVX512", scalar, ["-march=x86-64-v4"]))
  }
#endif
let kernelDependencies = kernelBuilds.map { Target.Dependency.byName(name: $0.name) }

// MARK: Package

let package = Package(
  name: "Lamina",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Lamina", targets: ["Lamina"]),
    .executable(name: "lamina", targets: ["LaminaCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
  ],
  targets: [
    .systemLibrary(
      name: "COpenBLAS", path: "Modules/COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
    .systemLibrary(
      name: "CLAPACKE", path: "Modules/CLAPACKE", pkgConfig: "lapacke",
      providers: [.apt(["liblapacke-dev"]), .brew(["lapack"])]),
    .systemLibrary(
      name: "CZlib", path: "Modules/CZlib", pkgConfig: "zlib",
      providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
  ] + kernelBuilds + [
    .target(name: "CPUFeatures"),
    .target(name: "CKernelShims"),
    .target(name: "KernelInterface"),
    .target(name: "Kernels", dependencies: ["CPUFeatures", "KernelInterface"] + kernelDependencies),
    .target(name: "ReferenceKernels", dependencies: ["KernelInterface"]),
    .target(name: "RandomNumbers"),
    .target(name: "OpenBLASCore", dependencies: ["COpenBLAS", "CPUFeatures"]),
    .target(name: "LinearAlgebra", dependencies: ["COpenBLAS", "CLAPACKE", "OpenBLASCore"]),
    .target(name: "Datasets", dependencies: ["CZlib", "LinearAlgebra", "RandomNumbers"]),
    .target(
      name: "NeuralNetworks",
      dependencies: ["CPUFeatures", "KernelInterface", "Kernels", "LinearAlgebra", "RandomNumbers", "Datasets"]),
    .target(
      name: "Training",
      dependencies: ["KernelInterface", "Kernels", "NeuralNetworks", "Datasets", "LinearAlgebra", "RandomNumbers"]),
    .target(
      name: "Lamina",
      dependencies: ["Training", "NeuralNetworks", "Datasets", "LinearAlgebra", "RandomNumbers"]),
    .target(name: "Experiments", dependencies: ["Lamina", "Training", "NeuralNetworks", "Datasets", "LinearAlgebra"]),
    .target(
      name: "Benchmarks",
      dependencies: [
        "Lamina", "Training", "NeuralNetworks", "Datasets", "LinearAlgebra", "RandomNumbers", "KernelInterface",
        "Kernels",
        "ReferenceKernels", "CPUFeatures",
      ]),
    .executableTarget(
      name: "LaminaCLI",
      dependencies: [
        "Lamina", "Benchmarks", "Experiments",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(
      name: "KernelsTests",
      dependencies: ["KernelInterface", "Kernels", "ReferenceKernels", "CPUFeatures", "RandomNumbers"]),
    .executableTarget(
      name: "BLASCoreProbe", dependencies: ["LinearAlgebra", "OpenBLASCore"], path: "Tests/Support/BLASCoreProbe"),
    .testTarget(
      name: "LinearAlgebraTests", dependencies: ["CPUFeatures", "LinearAlgebra", "RandomNumbers", "BLASCoreProbe"]),
    .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "LinearAlgebra", "CZlib", "RandomNumbers"]),
    .testTarget(
      name: "NeuralNetworksTests",
      dependencies: [
        "CPUFeatures", "KernelInterface", "Kernels", "NeuralNetworks", "Training", "ReferenceKernels", "Datasets",
        "LinearAlgebra", "RandomNumbers",
      ],
      resources: [.copy("Golden")]),
    .testTarget(
      name: "TrainingTests",
      dependencies: ["Training", "NeuralNetworks", "Datasets", "LinearAlgebra", "RandomNumbers", "AllocationProbe"]),
    .target(name: "AllocationCounter", path: "Tests/Support/AllocationCounter"),
    .executableTarget(
      name: "AllocationProbe", dependencies: ["AllocationCounter", "LinearAlgebra", "NeuralNetworks", "Training"],
      path: "Tests/Support/AllocationProbe"),
    .testTarget(
      name: "ExperimentsTests",
      dependencies: ["Experiments", "Training", "NeuralNetworks", "Datasets", "LinearAlgebra"]),
    .testTarget(name: "CLITests", dependencies: ["LaminaCLI", "Lamina", "Benchmarks"], exclude: ["Fixtures"]),
  ],
  swiftLanguageModes: [.v6]
)
