/** Patterns of names of channels. */
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { globOf } from "../../src/channels/Glob.js"

const text = (characters: string) =>
  FastCheck.array(FastCheck.constantFrom(...characters), { maxLength: 12 }).map((all) => all.join(""))

/** The same as a regular expression, for short names. */
const expressionOf = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replace(/[.*]/g, (one) => one === "*" ? "[^]*" : "\\.").replace(/\?/g, "[^]")}$`)

describe("a pattern", () => {
  it("means what the regular expression means", () => {
    FastCheck.assert(
      FastCheck.property(text("ab.?*\n"), text("ab.\n"), (pattern, name) => {
        assert.strictEqual(globOf(pattern)(name), expressionOf(pattern).test(name), JSON.stringify([pattern, name]))
      }),
      { numRuns: 5000 }
    )
  })

  it("takes no longer for names that are made to take long", () => {
    const name = "a".repeat(255)
    assert.isFalse(globOf(`${"*a".repeat(100)}*b`)(name))
    assert.isTrue(globOf(`${"*a".repeat(100)}*`)(name))
    assert.isFalse(globOf("?".repeat(1_000_000))(name))
    assert.isTrue(globOf("*".repeat(1_000_000))(name))
  })
})
