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
