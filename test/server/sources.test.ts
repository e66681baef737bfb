/** What each source says: flags one value at a time, variables lists, and two names of one thing. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CommandLine from "../../src/server/CommandLine.js"
import { check, load } from "../../src/server/ServerConfig.js"
import { type Environment, type Flags, join } from "../../src/server/Sources.js"

/** The flags that the command gets for these arguments. */
const parsed = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const seen: Array<Flags> = []
    const action = (flags: Flags) => Effect.sync(() => void seen.push(flags))
    yield* CommandLine.run(args, "1.2.3", {
      serve: action,
      "gen-token": action,
      "check-config": action,
      "gen-config": action
    })
    return seen[0] ?? new Map<string, ReadonlyArray<string>>()
  }).pipe(Effect.provide(NodeContext.layer))

describe("a list", () => {
  it.effect("in flags is one value each time, commas and all", () =>
    Effect.gen(function*() {
      const flags = yield* parsed("gen-token", "--channels", "room#ada,bob", "--channels=b", "--api-key", "a, b")
      assert.deepStrictEqual([...flags], [["--channels", ["room#ada,bob", "b"]], ["HUB_API_KEYS", ["a, b"]]])
      const keys = (yield* load(yield* parsed("--api-key", "a,b", "--api-key= c", "--client-insecure"), {})).apiKeys
      assert.deepStrictEqual(keys.map(Redacted.value), ["a,b", "c"])
    }))

  it.effect("in a variable is separated by commas", () =>
    Effect.gen(function*() {
      const { apiKeys } = yield* load(new Map(), { HUB_API_KEYS: "a, b", HUB_CLIENT_INSECURE: "true" })
      assert.deepStrictEqual(apiKeys.map(Redacted.value), ["a", "b"])
    }))

  const refused: ReadonlyArray<readonly [flag: string, value: string]> = [
    ["--trusted-proxy", "10.0.0.1,10.0.0.2"],
    ["--allowed-origin", "https://a.example,https://b.example"],
    ["--broker-urls", "redis://a.example,redis://b.example"],
    ["--broker-cluster", "redis://a.example:7000,redis://b.example:7000"]
  ]
  it.effect.each(refused)(
    "of %s with a comma is refused, not taken for one value",
    ([flag, value]) =>
      Effect.gen(function*() {
        const flags = yield* parsed(flag, value, "--broker-type", "redis")
        // Not the whole configuration, should it be taken: it is long to print.
        const message = yield* Effect.match(load(flags, {}), {
          onFailure: ({ message }) => message,
          onSuccess: () => "it was taken"
        })
        assert.isTrue(message.startsWith(`${flag}: expected `), message)
      })
  )
})

describe("client.queueMaxSize and limits.outboxBytes", () => {
  const names = [
    { path: ["client", "queueMaxSize"], variable: "HUB_CLIENT_QUEUE_MAX_SIZE" },
    { path: ["limits", "outboxBytes"], variable: "HUB_OUTBOX_BYTES" }
  ] as const
  const kinds = ["file", "variable", "flag"] as const
  type Given = readonly [name: 0 | 1, kind: typeof kinds[number], bytes: number]

  const loaded = (given: ReadonlyArray<Given>) => {
    const file: Record<string, Record<string, number>> = {}
    const environment: Record<string, string> = {}
    const flags = new Map<string, ReadonlyArray<string>>()
    for (const [name, kind, bytes] of given) {
      const { path: [section, key], variable } = names[name]
      if (kind === "file") file[section] = { ...file[section], [key]: bytes }
      else if (kind === "variable") environment[variable] = String(bytes)
      else flags.set(variable, [String(bytes)])
    }
    return check(join(flags, environment satisfies Environment, { name: "hub.json", value: file, problems: [] }))
  }

  const outbox = (...given: ReadonlyArray<Given>) => Effect.map(loaded(given), ({ config }) => config.hub.outboxBytes)

  const two = kinds.flatMap((first) => kinds.map((second) => [first, second] as const))
  it.effect.each(two)(
    "%s and %s: the later one counts, and two of one source conflict",
    ([first, second]) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* outbox([0, first, 7], [1, second, 7]), 7)
        const both = outbox([0, first, 1], [1, second, 2])
        if (first !== second) {
          return assert.strictEqual(yield* both, kinds.indexOf(first) > kinds.indexOf(second) ? 1 : 2)
        }
        const { message } = yield* Effect.flip(both)
        assert.match(message, /it is 1, and limits\.outboxBytes is 2: both are the bytes .*\. Give one of them\.$/)
      })
  )

  it.effect("of what is replaced nothing is looked at, or told", () =>
    Effect.gen(function*() {
      // A conflict of the file, and a value that cannot be.
      assert.strictEqual(yield* outbox([0, "file", 1], [1, "file", 2], [1, "flag", 3]), 3)
      assert.strictEqual(yield* outbox([0, "file", 1], [1, "file", 2], [0, "variable", 3]), 3)
      assert.strictEqual(yield* outbox([0, "variable", -1], [1, "variable", 2], [1, "flag", 3]), 3)
      const { sourceAt, value } = yield* loaded([[0, "file", 1], [1, "variable", 2]])
      assert.deepStrictEqual(value, { client: {}, limits: { outboxBytes: 2 } })
      assert.deepStrictEqual(names.map(({ path }) => sourceAt(path)?.label), [undefined, "HUB_OUTBOX_BYTES"])
    }))
})
