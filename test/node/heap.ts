/** What a heap snapshot of V8 says, by kind of thing. */

/** How many there are of each kind: strings, closures by their function's name, objects by their class, and so on. */
export type Heap = ReadonlyMap<string, { readonly count: number; readonly bytes: number }>

/** As far as it is read here. A node is so many numbers in a row, and `node_fields` says what each stands for. */
interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: ReadonlyArray<string>
      readonly node_types: readonly [ReadonlyArray<string>, ...ReadonlyArray<unknown>]
    }
  }
  readonly nodes: ReadonlyArray<number>
  readonly strings: ReadonlyArray<string>
}

/**
 * The compiler's own: machine code, bytecode, feedback, hidden classes. That comes and goes by half a megabyte as
 * functions become hot or are forgotten, and belongs to no connection.
 */
const compiler = new Set(["code", "object shape", "hidden", "synthetic"])

/** Kinds whose name is the content. */
const unnamed = new Set(["string", "concatenated string", "sliced string", "number", "bigint", "regexp"])

/** What the program itself has on the heap. */
export const readHeap = (json: string): Heap => {
  const { nodes, snapshot: { meta }, strings }: Snapshot = JSON.parse(json)
  const [typeAt, nameAt, sizeAt] = ["type", "name", "self_size"].map((field) => meta.node_fields.indexOf(field))
  const kinds = new Map<string, { count: number; bytes: number }>()
  for (let node = 0; node < nodes.length; node += meta.node_fields.length) {
    const field = (at = -1) => nodes[node + at] ?? Number.NaN
    const type = meta.node_types[0][field(typeAt)] ?? "unknown"
    if (compiler.has(type)) continue
    const name = unnamed.has(type) ? type : `${type} ${strings[field(nameAt)] ?? ""}`
    const kind = kinds.get(name) ?? { count: 0, bytes: 0 }
    kind.count++
    kind.bytes += field(sizeAt)
    kinds.set(name, kind)
  }
  return kinds
}

/** The kinds of which there are at least so many more than before, and how many more. */
export const grown = (before: Heap, after: Heap, least: number): Record<string, number> => {
  const more: Record<string, number> = {}
  for (const [name, { count }] of after) {
    const growth = count - (before.get(name)?.count ?? 0)
    if (growth >= least) more[name] = growth
  }
  return more
}

export const totalBytes = (heap: Heap): number => {
  let total = 0
  for (const { bytes } of heap.values()) total += bytes
  return total
}
