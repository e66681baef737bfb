/** Keeps the table of mutations true to the code; `npm run mutations` tries them. */
import { assert, describe, it } from "@effect/vitest"
import { fileURLToPath } from "node:url"
import { readSources, rotten } from "./mutation.js"
import { mutations } from "./table.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const sources = readSources(root)

/** What the table must cover: the laws of the lifecycle, and what this project began with. */
const promises = [
  ...Array.from({ length: 12 }, (_, n) => `L${n + 1}`),
  ...Array.from({ length: 4 }, (_, n) => `finding ${n + 1}`),
  // D13 is held by L1.
  ...Array.from({ length: 16 }, (_, n) => `D${n + 1}`).filter((defect) => defect !== "D13")
]

describe("the table of mutations", () => {
  it.each(mutations)("$of: $what", (mutation) => {
    assert.isUndefined(rotten(mutation, root, sources))
    assert.notStrictEqual(mutation.old, mutation.new)
  })

  it("has one for every law, finding and defect", () => {
    assert.deepStrictEqual(promises.filter((promise) => !mutations.some(({ of }) => of === promise)), [])
  })
})
