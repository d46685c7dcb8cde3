internal import CKernelShims
import KernelInterface

func multiplyAddPeak(_ rounds: Int, _ result: Pointer) -> Int {
  Int(lam_multiply_add_peak(Int64(rounds), result))
}

func streamCopy(_ x: ConstPointer, _ y: Pointer, _ count: Int) {
  var i = 0
  while i + 4 * lanes <= count {
    lam_store(y + i, lam_load(x + i))
    lam_store(y + i + lanes, lam_load(x + i + lanes))
    lam_store(y + i + 2 * lanes, lam_load(x + i + 2 * lanes))
    lam_store(y + i + 3 * lanes, lam_load(x + i + 3 * lanes))
    i += 4 * lanes
  }
  while i + lanes <= count {
    lam_store(y + i, lam_load(x + i))
    i += lanes
  }
  if i < count { store(y + i, load(x + i, count - i), count - i) }
}

func stream(_ x: ConstPointer, _ second: ConstPointer?, _ y: Pointer, _ count: Int, _ streaming: Bool) {
  let whole = count / (4 * lanes) * (4 * lanes)
  let past = streaming && UInt(bitPattern: y) % 64 == 0
  if let second {
    if past {
      streamVectors(x, second, y, whole, adds: true, streaming: true)
    } else {
      streamVectors(x, second, y, whole, adds: true, streaming: false)
    }
  } else if past {
    streamVectors(x, x, y, whole, adds: false, streaming: true)
  } else {
    streamVectors(x, x, y, whole, adds: false, streaming: false)
  }
  if past { lam_end_streaming() }
  var i = whole
  while i < count {
    let rest = min(lanes, count - i)
    var v = load(x + i, rest)
    if let second { v += load(second + i, rest) }
    store(y + i, v, rest)
    i += lanes
  }
}

/// A multiple of four vectors.
@inline(__always)
private func streamVectors(
  _ x: ConstPointer, _ second: ConstPointer, _ y: Pointer, _ count: Int, adds: Bool, streaming: Bool
) {
  var i = 0
  while i < count {
    for part in 0..<4 {
      let at = i &+ part &* lanes
      var v = lam_load(x + at)
      if adds { v += lam_load(second + at) }
      if streaming { lam_store_streaming(y + at, v) } else { lam_store(y + at, v) }
    }
    i &+= 4 &* lanes
  }
}
