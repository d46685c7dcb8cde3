/// Lamina's version.
public let laminaVersion = "0.1.0"
