/** A secret at a wrong place, or without the quotes that it needs, is in no complaint. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import { parseJson, parseYaml } from "../../src/server/ConfigFile.js"
import { load } from "../../src/server/ServerConfig.js"

const secret = "Passw0rd"

const complaints = (value: unknown) =>
  Effect.map(
    Effect.flip(load(new Map(), {}, parseJson("hub.json", JSON.stringify(value)))),
    ({ message }) => message.split("\n")
  )

describe("what stands where a section with secrets should", () => {
  const url = `redis://:${secret}@host`
  const wrong: ReadonlyArray<readonly [value: unknown, complaint: string]> = [
    [secret, "hub.json: expected an object, got a text."],
    [{ broker: url }, "hub.json: broker: expected an object, got a text."],
    [{ broker: [url] }, "hub.json: broker: expected an object, got a list."],
    [{ broker: { sentinel: url } }, "hub.json: broker.sentinel: expected an object, got a text."],
    [{ broker: { sentinel: [url] } }, "hub.json: broker.sentinel: expected an object, got a list."],
    [{ client: secret }, "hub.json: client: expected an object, got a text."],
    [{ client: { token: secret } }, "hub.json: client.token: expected an object, got a text."],
    [{ client: { token: 12345678 } }, "hub.json: client.token: expected an object, got a number."],
    [{ api: [secret] }, "hub.json: api: expected an object, got a list."],
    [{ telemetry: [`authorization=${secret}`] }, "hub.json: telemetry: expected an object, got a list."]
  ]
  it.effect.each(wrong)(
    "%j is told by its kind",
    ([value, complaint]) => Effect.map(complaints(value), (found) => assert.deepStrictEqual(found, [complaint]))
  )

  it.effect("is shown where there are no secrets", () =>
    Effect.map(complaints({ http: "here", limits: 5, api: null }), (found) =>
      assert.sameMembers(found, [
        "hub.json: http: expected an object, got \"here\".",
        "hub.json: limits: expected an object, got 5.",
        "hub.json: api: expected an object, got null."
      ])))
})

describe("a secret of the wrong kind", () => {
  const wrong: ReadonlyArray<readonly [yaml: string, complaint: string]> = [
    [
      "client: { token: { hmacSecret: 0123456789 } }",
      "client.token.hmacSecret: expected a text that is not empty, got a number (it is not shown): put it in quotes."
    ],
    [
      "client: { token: { hmacSecret: true } }",
      "client.token.hmacSecret: expected a text that is not empty, got true or false (it is not shown): put it in quotes."
    ],
    [
      "client: { token: { hmacSecret: [a] } }",
      "client.token.hmacSecret: expected a text that is not empty, got a list (it is not shown)."
    ],
    [
      "broker: { type: redis, password: 123 }",
      "broker.password: expected a text that is not empty, got a number (it is not shown): put it in quotes."
    ],
    [
      "api: { keys: [123] }",
      "api.keys.0: expected texts of visible ASCII characters, with spaces only between them, got a number (it is not shown): put it in quotes."
    ],
    [
      "api: { keys: 123 }",
      "api.keys: expected texts of visible ASCII characters, with spaces only between them, got a number (it is not shown)."
    ]
  ]
  it.effect.each(wrong)("%s is told by its kind", ([yaml, complaint]) =>
    Effect.gen(function*() {
      const { message } = yield* Effect.flip(load(new Map(), {}, parseYaml("hub.yaml", yaml)))
      assert.strictEqual(message, `hub.yaml: ${complaint}`)
    }))
})

describe("an API key that no request can carry", () => {
  const expected =
    "expected texts of visible ASCII characters, with spaces only between them, got something else (it is not shown)."
  const base = { HUB_CLIENT_ALLOW_ANONYMOUS: "true" }
  it.effect.each([
    ` ${secret}`,
    `${secret} `,
    `${secret}\n`,
    `${secret}\u0000x`,
    `${secret}\tx`,
    `${secret}\u007f`,
    `${secret}é`,
    ""
  ])(
    "%j is refused, and not shown",
    (key) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* complaints({ api: { keys: [key] }, client: { allowAnonymous: true } }), [
          `hub.json: api.keys.0: ${expected}`
        ])
      })
  )

  it.effect("is refused in variables and flags too; spaces around a key are none of it there", () =>
    Effect.gen(function*() {
      for (const key of [`${secret}é`, `a\n${secret}`]) {
        const variable = yield* Effect.flip(load(new Map(), { ...base, HUB_API_KEYS: key }))
        assert.strictEqual(variable.message, `HUB_API_KEYS: ${expected}`)
        const flag = yield* Effect.flip(load(new Map([["HUB_API_KEYS", [key]]]), base))
        assert.strictEqual(flag.message, `--api-key: ${expected}`)
      }
      const { apiKeys } = yield* load(new Map(), { ...base, HUB_API_KEYS: " a b ,!~" })
      assert.deepStrictEqual(apiKeys.map(Redacted.value), ["a b", "!~"])
    }))
})

describe("a file that cannot be read quotes nothing of a value", () => {
  const yaml: ReadonlyArray<readonly [value: string, problem: RegExp]> = [
    [`!${secret}`, /^hub\.yaml: line 3, column 17: a tag .* begins with ! must be in quotes\.$/],
    [`!<${secret}> x`, /^hub\.yaml: line 3, column 17: a tag .* begins with ! must be in quotes\.$/],
    [`!zz!${secret}`, /^hub\.yaml: line 3, column 17: a tag .* begins with ! must be in quotes\.$/],
    [`*${secret}`, /^hub\.yaml: line 3, column 17: an alias .* begins with \* must be in quotes\.$/],
    [`@${secret}`, /^hub\.yaml: line 3, column 17: .* must be in quotes\.$/],
    [`|${secret}`, /^hub\.yaml: line 3, column \d+: .* must be in quotes\.$/],
    [`>${secret}`, /^hub\.yaml: line 3, column \d+: .* must be in quotes\.$/],
    [`"x" ${secret}`, /^hub\.yaml: line 3, column \d+: .* must be in quotes\.$/],
    [`"\\qassw0rd"`, /^hub\.yaml: line 3, column 18: an escape that YAML does not have/]
  ]
  it.each(yaml)("YAML, %s", (value, problem) => {
    const problems = parseYaml("hub.yaml", `client:\n  token:\n    hmacSecret: ${value}\n`).problems
    assert.match(problems[0] ?? "", problem)
    for (const line of problems) assert.notMatch(line, /\\|assw0rd|zz/)
  })

  it("aliases that go in circles, or are too many", () => {
    const told = ["hub.yaml: an alias refers to what it is in, or there are too many."]
    assert.deepStrictEqual(parseYaml("hub.yaml", `a: &a { ${secret}: *a }`).problems, told)
    assert.deepStrictEqual(parseYaml("hub.yaml", `a: &a [x]\nb: [${"*a,".repeat(200)}]`).problems, told)
  })

  it("YAML, whatever is around the secret", () => {
    const piece = fc.constantFrom(
      ..."!&*|>@%`\"'[]{},:?-#\\ \n\t<~=;+/".split(""),
      "--- ",
      "... ",
      "\n  ",
      "!!",
      "%TAG "
    )
    const around = fc.tuple(fc.array(piece, { maxLength: 4 }), fc.array(piece, { maxLength: 4 }))
    const where = fc.constantFrom("", "password: ", "a:\n  password: ", "keys: [", "{ a: ", "- ")
    let told = 0
    fc.assert(
      fc.property(where, around, (start, [before, after]) => {
        const { problems } = parseYaml("hub.yaml", start + before.join("") + secret + after.join(""))
        told += problems.length
        for (const line of problems) assert.notInclude(line.toLowerCase(), secret.toLowerCase())
      }),
      { numRuns: 3000 }
    )
    assert.isAbove(told, 1000)
  })

  it("a key that is no text is in no warning of the process", () => {
    const warnings: Array<unknown> = []
    const { emitWarning } = process
    process.emitWarning = (warning: unknown) => {
      warnings.push(warning)
    }
    parseYaml("hub.yaml", `broker: { url: { { ${secret}: 1 }: 1 } }`)
    process.emitWarning = emitWarning
    assert.deepStrictEqual(warnings, [])
  })

  it.each([
    [`{"password": ${secret}}`, "line 1, column 14: expected a value."],
    [`{"password": "a"${secret}"}`, "line 1, column 17: expected \",\" or \"}\"."],
    [`{"password": "${secret}\n"}`, "line 1, column 14: a text that does not end in its line"],
    [`{"password": "${secret}" "`, "line 1, column 25: expected \",\" or \"}\", got \"\\\"\"."]
  ])("JSON, %s", (text, problem) => {
    const [line = "", ...others] = parseJson("hub.json", text).problems
    assert.isTrue(line.startsWith(`hub.json: ${problem}`), line)
    assert.deepStrictEqual(others, [])
    assert.notInclude(line, secret)
  })
})
