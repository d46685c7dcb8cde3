import Testing

/// Whatever is wrong gives one line on standard error that names it, and a status that is not 0.
@Suite struct BadArgumentTests {
  @Test(arguments: [
    (["train", "--bogus"], "--bogus"),
    (["--bogus"], "--bogus"),
    (["fly"], "fly"),
    (["train", "--epochs", "many"], "--epochs"),
    (["train", "--epochs", "0"], "--epochs 0"),
    (["train", "--epochs"], "--epochs"),
    (["train", "--layers", "12,x"], "--layers 12,x"),
    (["train", "--layers", "12,,3"], "--layers 12,,3"),
    (["train", "--layers=-5"], "-5"),
    (["train", "--activation", "softplus"], "--activation softplus"),
    (["train", "--batch-norm", "sometimes"], "sometimes"),
    (["train", "--optimizer", "lion"], "lion"),
    (["train", "--momentum", "0.9"], "--momentum"),
    (["train", "--learning-rate", "nan"], "--learning-rate"),
    (["train", "--learning-rate=-1"], "--learning-rate"),
    (["train", "--dropout", "1"], "--dropout"),
    (["train", "--initializer", "magic"], "--initializer magic"),
    (["train", "--batch-size", "0"], "--batch-size 0"),
    (["train", "--threads", "0"], "--threads 0"),
    (["train", "--validation-split", "1.5"], "--validation-split"),
    (["train", "--seed=-1"], "-1"),
    (["train", "--precision", "float16"], "float16"),
    (["train", "--train-images", "0"], "--train-images 0"),
    (["train", "--data", "/no/such/folder"], "/no/such/folder"),
    (["train", "--train-images", "1", "--test-images", "1", "--validation-split", "0.5"], "validationSplit"),
    (["train", "--save", "/no/such/folder/model", "--train-images", "50"], "/no/such/folder/model"),
    (["train", "--microscope", "/no/such/folder/a.csv", "--train-images", "50"], "/no/such/folder/a.csv"),
    (["train", "--microscope-every", "0"], "--microscope-every 0"),
    (["evaluate"], "--model"),
    (["evaluate", "--model", "/no/such/model"], "/no/such/model"),
    (["predict", "--model", "/no/such/model", "--images", "x"], "/no/such/model"),
    (["predict", "--model", "m", "--images", "x", "--count", "0"], "--count 0"),
    (["summary", "--model", "/etc/passwd"], "/etc/passwd"),
    (["bench", "everything"], "everything"),
    (["bench", "step", "--layers", "10"], "--layers 10"),
    (["bench", "step", "--dropout", "0.5"], "--dropout"),
    (["bench", "step", "--seconds", "0"], "--seconds"),
    (["experiment", "alchemy"], "alchemy"),
    (["experiment", "covariate-shift", "--steps", "0"], "--steps 0"),
    (["experiment", "covariate-shift", "--learning-rate", "1"], "--deviation"),
    (["experiment", "covariate-shift", "--threshold", "256"], "--threshold"),
    (["bench", "step", "--threads", "0"], "--threads 0"),
    (["bench", "step", "--variant", "fast"], "fast"),
    (["bench", "step", "--activation", "softplus"], "--activation softplus"),
    (["bench", "gemm", "--json", "/no/such/folder/x"], "/no/such/folder/x"),
    (["bench", "gemm", "--plot", "/dev/null/plots"], "/dev/null/plots"),
  ])
  func oneLineNamesIt(arguments: [String], named: String) throws {
    let result = try Program.run(arguments)
    #expect(result.status != 0 && result.status < 126, "status \(result.status)")
    #expect(result.output.isEmpty)
    let lines = result.errors.split(separator: "\n")
    #expect(lines.count == 1, "\(result.errors)")
    #expect(result.errors.hasPrefix("lamina: ") && result.errors.contains(named), "\(result.errors)")
  }

  @Test func wrongKernelsAreRefusedByEveryCommandThatComputes() throws {
    for command in [["train", "--train-images", "50"], ["doctor"], ["bench", "gemm", "--quick"]] {
      let result = try Program.run(command, environment: ["LAMINA_KERNELS": "mmx"])
      #expect(result.status == 1)
      #expect(
        result.errors
          == "lamina: LAMINA_KERNELS=mmx: no such instruction set; use portable, avx2, avx512 or amx, or unset the variable\n"
      )
    }
  }

  @Test func helpDocumentsEveryFlag() throws {
    for command in ["train", "evaluate", "predict", "summary", "doctor", "bench"] {
      let result = try Program.run([command, "--help"])
      #expect(result.status == 0 && result.errors.isEmpty)
      let lines = result.lines
      for (index, line) in lines.enumerated() where line.hasPrefix("  --") || line.hasPrefix("  -h") {
        // The text stands in column 26 of the flag's line, or of the next one where the flag is long.
        let described =
          line.count > 26 && line.dropFirst(24).hasPrefix("  ") || lines[index + 1].hasPrefix("      ")
          || line.dropFirst(2).contains("  ")
        #expect(described, "\(command): \(line)")
      }
    }
  }

  @Test func versionIsANumber() throws {
    let result = try Program.run(["--version"])
    #expect(result.status == 0)
    #expect(result.output.split(separator: ".").count == 3)
  }
}
