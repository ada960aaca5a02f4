/// The version of the tool, as `resq --version` prints it and artifacts record it.
public let toolVersion = "0.1.0"
